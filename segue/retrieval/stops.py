"""Words that a question has whatever it asks: they find nothing."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from segue.retrieval.words import Hashes, read

ENGLISH = """
a about above after again all also am an and any are as at be because been before being below between both but by can
could did do does doing down during each either else ever few for from further get give given had has have having he
her here hers him his how i if in into is it its itself just know let like many may me might more most much must my no
nor not now of off on once one only or other our ours out over own please same shall she should show so some such tell
than that the their theirs them then there these they this those through to too under until up upon us very was we were
what when where whether which while who whom whose why will with would yes you your yours explain describe say says said
find mention mentioned according question answer document documents file files text article s t d ll ve re m
"""
CHINESE = """
的 了 是 在 有 和 与 及 或 而 且 但 但是 如果 因为 所以 以及 并 并且 也 都 就 还 还有 又 再 很 更 最 太 不 没 没有
我 你 您 他 她 它 我们 你们 他们 她们 它们 咱们 自己 这 那 这个 那个 这些 那些 这里 那里 这儿 那儿 这样 那样 什么 啥
谁 哪 哪个 哪些 哪里 哪儿 哪位 何时 怎么 怎样 怎么样 如何 为什么 为何 几 多少 吗 呢 吧 啊 呀 嘛 么 请 请问 告诉
说 讲 问 一下 一个 一些 个 些 把 被 对 对于 关于 给 让 向 从 到 由 于 以 为 其 之 者 所 着 过 来 去 会 能 可以 可 要
想 知道 根据 按照 回答 问题 文档 文件 文章 文中 里 里面 中 上 下 内 是否 是不是 有没有 多 位 介绍 说明 解释 描述
提到 提及 内容 帮 帮我 麻烦
一种 一種 什么样 什麼樣 哪一个 用来 用來 应该 應該 应当 應當 需要 需
座 种 種 名 本 条 件 张 只 款 项 间 家 台 辆 支 份 篇 部 场 次 层 才 才能 怎样才能 怎么才能 如何才能
"""


@lru_cache(maxsize=1)
def stop_hashes() -> Hashes:
    """Sorted."""
    return np.unique(read([*ENGLISH.split(), *CHINESE.split()]).hashes)
