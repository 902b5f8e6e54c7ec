// Two languages. An English sentence is its own key; numbers and times are written as the reader's language writes them.

const ZH = {
  "Light": "浅色", "Dark": "深色", "Enter": "进入", "Leave": "退出", "Your key": "您的 API Key", "To the page": "跳到正文", "Pages": "页面",
  "The key is not accepted any more.": "此 API Key 已不再有效。",
  "The server cannot be reached.": "无法连接服务器。",
  "This key is not accepted.": "此 API Key 无效。",
  "Write a beginning, and watch the model go on.": "写下开头，看模型接着写下去。",
  "It stays in this tab's memory, and is gone when the tab is closed or loaded anew.": "它只保存在此标签页的内存中；关闭或刷新标签页后即消失。",
  "{0} · workspace {1} · role {2}": "{0} · 业务空间 {1} · 角色 {2}",
  "Playground": "体验", "Compare": "对比", "Documents": "文档", "Usage": "用量", "Keys": "密钥", "Keys and workspaces": "密钥与业务空间",
  "Answer": "回答", "writing…": "正在书写…", "You": "用户", "Model": "模型", "System": "系统", "Result": "结果",
  "Message {0}": "消息 {0}", "What do you want to know?": "想知道什么？", "Role": "角色", "Remove message {0}": "移除消息 {0}", "Remove": "移除",
  "Image {0}": "图片 {0}", "Remove image {0}": "移除图片 {0}", "{0}: images of at most 8 MB, beside a message of yours.": "{0}：图片不得超过 8 MB，并须附在用户消息上。",
  "is being read": "解析中", "read": "已解析", "cannot be read": "无法解析", "being read, {0}": "解析中，{0}",
  "Who the model is, and how it is to answer": "模型的身份与回答方式",
  "Add a message": "添加消息", "Add an image": "添加图片", "this model sees no images": "此模型不支持图片", "Add a file": "添加文件",
  "files: choose a name such as qwen-long": "文件：请选用 qwen-long 等模型名", "Files": "文件", "Remove {0}": "移除 {0}",
  "Stop": "停止", "Go on": "续写", "Go on from here": "从此处续写", "Start again": "重新开始", "Undo": "撤销", "Tokens": "Token", "Reply": "继续对话", "Copy as…": "复制为…", "Thought": "思考过程",
  "Candidate {0}": "候选 {0}", "Take this one": "采用", "System prompt": "系统提示词", "Parameters": "参数",
  "Begin the answer here, or leave it empty. The model goes on from the caret.": "在此写下回答的开头，也可留空。模型从光标处续写。",
  "What else could have come": "其他可能的 Token", "Tokens of the answer": "回答的 Token", "Token {0} of {1}": "第 {0} 个 Token，共 {1} 个", "Probability": "概率",
  "Go on from before it": "从它之前续写", "Go on with this": "改用它续写",
  "There are no tokens to show: go on once with token probabilities switched on.": "没有可显示的 Token：请开启“Token 概率”后续写一次。",
  "likely": "可能", "unlikely": "少见", "JSON schema": "JSON Schema", "Functions": "函数", "Served here": "本机模型", "Names they answer to": "可用的模型名",
  "Fill in an example": "填入示例", "Candidates (n)": "候选数 (n)", "Form of the answer": "回答形式", "free text": "自由文本", "JSON": "JSON",
  "regular expression": "正则表达式", "grammar (Lark)": "文法 (Lark)", "Regular expression": "正则表达式", "Grammar": "文法", "Functions it may call, as JSON": "可调用的函数（JSON）",
  "Choice": "选择方式", "as it likes": "自动", "at least one": "至少一个", "none": "无", "More": "更多", "Stop at, one a line": "停止词，每行一个",
  "Token probabilities": "Token 概率", "Deterministic": "确定性输出", "Think first": "先思考", "Letters of one width": "等宽字体", "This key may use no model.": "此 API Key 没有可用的模型。",
  "{0} tokens of context": "上下文 {0} Token", "{0} answers to this name": "由 {0} 应答",
  "the last {0} bytes could be spelled otherwise": "末尾 {0} 个字节可另行切分", "the prefix's own tokens stand": "前缀自身的 Token 不变",
  "Seam: exact; {0}": "接缝：精确；{0}",
  "Seam: exact to {0}; beginnings read: {1}; {2}": "接缝：精确到 {0}，读取了 {1} 种开头；{2}",
  "Seam: resumed, from the tokens it was said in": "接缝：从原有 Token 恢复", "Seam: healed": "接缝：已修复", "Seam: plain, the prefix as it stands": "接缝：前缀原样",
  "{0} tokens in, {1} of them cached": "输入 {0} Token，其中 {1} 命中缓存", "{0} tokens in": "输入 {0} Token", "{0} out": "输出 {0}", "first after {0}": "首 Token {0}", "{0} tokens/s": "{0} Token/秒", "{0} in all": "共 {0}",
  "waiting for the first token…": "等待首个 Token…", "stopped": "已停止", "ended": "已结束", "it had ended": "自然结束", "it was as long as allowed": "达到长度上限", "it calls a function": "调用函数",
  "answered by {0}": "由 {0} 应答", "documents: {0}": "文档：{0}", "ignored: {0}": "已忽略：{0}", "Calls": "函数调用", "What came of it": "调用结果", "Send the results and go on": "提交结果并继续",
  "Copy as": "复制为", "Your key is not in it: put it into DASHSCOPE_API_KEY.": "其中不含您的 API Key：请将其放入环境变量 DASHSCOPE_API_KEY。", "Close": "关闭", "Copied": "已复制", "Copy": "复制",
  "Ask all": "全部提问", "Add one more": "再加一个", "Answer {0}": "回答 {0}", "Prompt": "提示词", "System prompt and beginning": "系统提示词与回答开头", "Beginning of the answer": "回答的开头",
  "Delete this file?": "删除此文件？", "{0}, and all that was read of it, will be gone.": "{0} 及其解析结果将被删除。", "Delete": "删除", "Keep it": "保留", "(nothing was found here)": "（此处没有内容）",
  "All of it": "全文", "all of it": "全文", "Part {0}": "第 {0} 部分", "This server keeps no files.": "此服务器不保存文件。", "Upload": "上传",
  "or drop files here: PDF, Word, Excel, text, books, pictures": "或将文件拖到此处：PDF、Word、Excel、文本、电子书、图片", "What do they say about…?": "文档中关于……怎么说？",
  "Pages of {0}": "{0} 的页面", "Delete {0}": "删除 {0}", "Upload of {0}": "正在上传 {0}", "File": "文件", "Size": "大小", "Status": "状态", "Uploaded": "上传时间", "Acts": "操作", "There are no files yet.": "还没有文件。",
  "Ask about {0}": "就{0}提问", "one file": "一个文件", "{0} files": " {0} 个文件", "What was read for it": "回答所读的段落", "Ask": "提问", "Question": "问题",
  "Requests": "请求数", "Failed": "失败", "Tokens in": "输入 Token", "Tokens out": "输出 Token", "From the cache": "缓存命中", "Cost": "费用", "cached": "缓存", "First token, median": "首 Token 中位数", "95th percentile": "95 分位", "Tokens/s": "Token/秒",
  "Key": "密钥", "Workspace": "业务空间", "Tokens a day": "每日 Token", "in, from the cache": "输入（缓存）", "in, read": "输入（新读）", "out": "输出", "Requests a day": "每日请求", "answered": "成功", "failed": "失败",
  "First token after": "首 Token 用时", "Tokens a second": "每秒 Token", "The days as a table": "每日数据表", "Day": "日期", "This server tells nothing of what was used.": "此服务器不提供用量数据。",
  "Days (UTC)": "日期范围 (UTC)", "7 days": "7 天", "30 days": "30 天", "90 days": "90 天", "By": "分类", "median": "中位数",
  "Limits": "限额", "Cancel": "取消", "Your new key": "新的 API Key", "It is shown this once. Keep it where secrets are kept.": "仅显示这一次，请妥善保管。", "I have it": "已保存", "made up, if empty": "留空则自动生成",
  "names of models, with commas": "模型名，以逗号分隔", "Change a workspace": "修改业务空间", "New workspace": "新建业务空间", "Name": "名称", "Id": "ID", "Models it may use": "可用模型", "Save": "保存", "Make it": "创建",
  "member: asks models": "member：调用模型", "read-only: looks": "read-only：只读", "admin: does all this": "admin：管理", "for good": "永久", "all of its workspace's": "业务空间的全部模型", "Change a key": "修改密钥", "New key": "新建密钥",
  "Holds for so many days": "有效天数", "revoked": "已吊销", "over": "已过期", "until {0}": "至 {0}", "valid": "有效", "Standing": "状态", "Models": "模型", "all": "全部", "Change {0}": "修改 {0}", "Change": "修改",
  "Revoke {0}": "吊销 {0}", "Revoke this key?": "吊销此密钥？", "{0} will open nothing any more. This cannot be undone.": "{0} 将立即失效，且无法恢复。", "Revoke": "吊销", "Workspaces": "业务空间",
  "Remove this workspace?": "移除此业务空间？", "{0}: its keys will open nothing, its files will be deleted. This cannot be undone.": "{0}：其密钥将失效，文件将被删除，且无法恢复。",
};

let spoken = "en";
export const language = () => spoken;
export const setLanguage = (name) => { spoken = name === "zh" ? "zh" : "en"; };

/** A sentence in the reader's language, with what belongs into it. */
export function t(sentence, ...values) {
  const said = spoken === "zh" ? ZH[sentence] : sentence;
  if (said === undefined) console.error(`no words for: ${sentence}`);
  return (said ?? sentence).replace(/\{(\d)\}/g, (_, place) => values[place]);
}

const locale = () => (spoken === "zh" ? "zh-CN" : "en");

export const count = (value) => Number(value).toLocaleString(locale());
export const short = (value) => Number(value).toLocaleString(locale(), { notation: "compact", maximumFractionDigits: 1 });
export const day = (seconds) => new Date(seconds * 1000).toLocaleDateString(locale(), { year: "numeric", month: "short", day: "numeric" });
export const millis = (value) => (value < 999.5 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 9950 ? 2 : 1)} s`);

export function bytes(size) {
  const step = size < 1000 ? 0 : size < 1e6 ? 1 : size < 1e9 ? 2 : 3;
  return `${(size / 1000 ** step).toFixed(step && size / 1000 ** step < 10 ? 1 : 0)} ${["B", "kB", "MB", "GB"][step]}`;
}
