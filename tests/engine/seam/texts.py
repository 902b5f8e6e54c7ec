"""Texts of four kinds, to be cut anywhere: what a prefix may end in."""

from __future__ import annotations

import inspect
import json
import random
import textwrap
from collections.abc import Callable, Mapping

CHINESE = """\
清晨的雾还没有散去，河边的石板路湿漉漉的。老陈推着他的早餐车，从巷子口慢慢地走过来，车轮压过青苔，发出轻轻的声响。\
豆浆的香气飘得很远，几个背着书包的孩子远远地就喊了起来：“陈爷爷，我要两根油条！”他笑着点头，把油锅底下的火拨得更旺了一些。

这座小城不大，从东到西走路也不过四十分钟。1998年的那场大水以后，城里修了新的堤坝，又在堤坝上种了三千多棵柳树。每到四月，\
柳絮漫天飞舞，像下了一场温柔的雪。年轻人大多去了省城工作，只有过年的时候才回来；留下的人守着老房子、老铺子，也守着一种不紧不慢的日子。

人工智能的研究者常说，语言模型并不“理解”世界，它只是在预测下一个词。可是当我把一首没有写完的诗交给它，它接下去的那一句，\
却让我愣了很久。“春天来了，大地万物复苏，”我写道，“而我还在等一封去年冬天寄出的信。”它写：“信走得慢，是因为它绕道去看了一次花开。”

数据库的索引有两种常见的结构：B+树与哈希表。前者适合范围查询，后者只适合等值查询。假设表中有一千万行记录，没有索引时，\
一次查询平均要读取五百万行；有了B+树索引，只需要三到四次磁盘访问。不过，索引并不是越多越好——每一次写入都要同时更新所有的索引，\
所以在写多读少的系统里，应当谨慎地选择需要建立索引的列（例如主键、外键和经常出现在WHERE子句里的列）。

苏轼被贬到黄州的时候，四十四岁。他在城东的山坡上开了一块荒地，自号“东坡居士”。白天种麦，夜里读书，偶尔与朋友泛舟江上。\
后来的人只记得《赤壁赋》里的清风明月，却常常忘了写下这些句子的人，那时候连买一斤肉都要算着铜钱。他说：“莫听穿林打叶声，何妨吟啸且徐行。”\
这大概就是所谓的旷达：不是没有风雨，而是风雨里还走得动。

会议纪要：一、下周三（9月18日）上午10点召开项目评审会，请各组提前准备材料；二、测试环境的服务器将在本周五晚间升级，届时暂停访问约2小时；\
三、关于用户反馈的“页面加载缓慢”问题，初步判断是图片没有压缩，由前端组负责跟进，预计5个工作日内完成。请大家注意查收邮件，谢谢！

厨房里的事情，说难也难，说简单也简单。番茄炒蛋，先炒蛋，后炒番茄，最后放一点糖，味道就出来了。外婆总说，火候到了，菜自己会告诉你。\
我小时候不信，蹲在灶台旁边听了半天，只听见油在锅里噼里啪啦地响。如今我也到了她当年的年纪，才慢慢听懂了那些声音。
"""

ENGLISH = """\
The lighthouse had not been lit for eleven years when Margaret bought it. The agent couldn't believe his luck; \
he'd shown the place to thirty-four people, and every one of them had looked at the staircase, counted the steps \
(there were 217), and walked straight back to the car. She didn't count anything. She put her hand flat against \
the wall, felt the sea through it, and said, "I'll take it."

What nobody had told her about was the noise. It wasn't the waves, which she'd expected, or the gulls, who kept \
office hours; it was the building itself. At night the iron contracted and the whole tower spoke: small ticks at \
first, then a long, unhappy groan that travelled from the lamp room to the cellar. "You'll get used to it," the \
postman told her. "My uncle did. Took him nine years, mind."

In statistics, a confidence interval is often misunderstood. A 95% interval doesn't mean that there's a 95% \
probability that the parameter lies inside this particular interval; it means that, if we repeated the \
experiment many times, about 95% of the intervals so constructed would contain it. The distinction sounds \
pedantic, and in practice it's frequently ignored, but it matters whenever prior information is strong -- for \
example, when a clinical trial with N=40 reports an effect of 3.7 +/- 1.2 units.

Dear Mr. O'Sullivan,

Thank you for your letter of 14 March. We've looked into the matter of the missing parcels (order nos. 20391, \
20394 and 20411) and found that all three were delivered to the wrong address. They're now on their way to you; \
please expect them by Thursday at the latest. As an apology, we have credited $25.00 to your account.

Compilers are, at heart, translators with very strict parents. They read a program written for humans, check \
that it obeys a long list of rules, and produce another program -- one that no human would want to read. Between \
the two lies an intermediate representation: a tree, or a graph, or a list of three-address instructions. Most \
optimisations happen there: constant folding, dead-code elimination, loop-invariant code motion, inlining, and \
so on. None of them is magic. Each one says, "If you squint, these two things are the same, and this one is \
cheaper."

Rain fell on the allotments all through October. The beans rotted; the pumpkins, for reasons nobody understood, \
grew to the size of armchairs. By Halloween there wasn't a doorstep in the street without one, and Mr. Begum at \
number 12 had hollowed out his largest and was keeping hens in it. "It's dry," he explained. "It's warm. And \
they're the only tenants I've ever had who pay on time."
"""


def code() -> str:
    """Python as people write it, from the standard library; with some C and JavaScript of our own."""
    return inspect.getsource(textwrap) + inspect.getsource(json.encoder) + _OTHER_CODE


_OTHER_CODE = """\
static int find(const struct table *t, const char *key)
{
\tsize_t at = hash(key) % t->size;

\tfor (size_t i = 0; i < t->size; i++, at = (at + 1) % t->size) {
\t\tif (!t->slots[at].key)
\t\t\treturn -1;
\t\tif (strcmp(t->slots[at].key, key) == 0)
\t\t\treturn (int)at;
\t}
\treturn -1;
}

export async function load(url, {retries = 3, delay = 250} = {}) {
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return await response.json();
    } catch (error) {
      if (attempt >= retries) throw error;
      await new Promise((done) => setTimeout(done, delay * 2 ** attempt));
    }
  }
}
"""


def jsons() -> str:
    """Objects and lists, indented and not, of numbers, words and Chinese."""
    rng = random.Random(5)
    words = [word.strip('.,;"()') for word in ENGLISH.split()]

    def value(depth: int) -> object:
        kind = rng.randrange(9 if depth else 6)
        if kind > 6:
            return {f"{rng.choice(words)}_{rng.choice(words)}".lower(): value(depth - 1) for _ in range(4)}
        if kind == 6:
            return [value(depth - 1) for _ in range(rng.randrange(4))]
        scalars: list[object] = [rng.randrange(10**6), round(rng.uniform(-99, 99), 3), rng.random() < 0.5, None]
        return [*scalars, " ".join(rng.sample(words, 3)), CHINESE[(at := rng.randrange(900)) : at + 6]][kind]

    shapes: list[dict[str, object]] = [{"indent": 2}, {"indent": 4}, {}, {"separators": (",", ":")}, {"indent": "\t"}]
    records = [{"id": at, "body": value(3), "items": [value(2) for _ in range(3)]} for at in range(60)]
    return "\n".join(
        json.dumps(record, ensure_ascii=bool(at % 3 == 0), **shapes[at % 5])  # type: ignore[arg-type]
        for at, record in enumerate(records)
    )


KINDS: Mapping[str, Callable[[], str]] = {
    "chinese": lambda: CHINESE,
    "english": lambda: ENGLISH,
    "code": code,
    "json": jsons,
}
