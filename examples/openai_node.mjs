// The `openai` package of Node.js: a stream that goes on from a prefix.
import OpenAI from "openai";

const client = new OpenAI({
  apiKey: process.env.DASHSCOPE_API_KEY,
  baseURL: (process.env.SEGUE_URL ?? "http://127.0.0.1:8000") + "/compatible-mode/v1",
});
const prefix = "def fib(n):\n    if n <= 1:\n        ret";
const stream = await client.chat.completions.create({
  model: "qwen-plus",
  messages: [
    { role: "user", content: "Complete this Fibonacci function. Add nothing else." },
    { role: "assistant", content: prefix, partial: true },
  ],
  max_tokens: 32,
  stream: true,
});
process.stdout.write(prefix);
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
process.stdout.write("\n");
