"""Asks a server of ours with the `openai` package: whole, streamed, with log-probabilities, sixteen at once.

    pip install openai
    mpo-train serve MODEL --device flex --port 8000 --name m
    python tests/peers/check_server.py http://127.0.0.1:8000/v1 m MODEL mpo-train

Every answer must be the one that `mpo-train generate --model MODEL` gives.
"""

import json
import subprocess
import sys
import threading

from openai import BadRequestError, NotFoundError, OpenAI

url, name, model, program = sys.argv[1:5]
TOKENS = 24
PROMPTS = [
    "How do I bake bread?", "Ninapikaje wali na maharage?", "What is the capital of Japan?", "Write a haiku about rain.",
    "চা কীভাবে বানাব?", "빵은 어떻게 굽나요?", "How far is the moon?", "Name three fruits.", "What is 2+2?",
    "Tell me about Kenya.", "Explain gravity in one sentence.", "如何泡茶？", "كيف أطبخ الأرز؟", "Who wrote Hamlet?",
    "Give me a word that rhymes with cat.", "Translate 'good morning' to French.",
]  # fmt: skip

client = OpenAI(base_url=url, api_key="none", timeout=300, max_retries=0)


def ask(prompt, **more):
    messages = [{"role": "user", "content": prompt}]
    more = {"temperature": 0, "max_tokens": TOKENS, **more}
    return client.chat.completions.create(model=name, messages=messages, **more)


def whole(prompt):
    return ask(prompt).choices[0].message.content


def streamed(prompt):
    events = list(ask(prompt, stream=True, stream_options={"include_usage": True}))
    assert events[-1].usage.completion_tokens <= TOKENS
    assert events[-2].choices[0].finish_reason in ("stop", "length")
    return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


def scored():
    """The tokens of an answer and the most probable ones are the same, whole and streamed."""
    reply = ask(PROMPTS[2], logprobs=True, top_logprobs=3).choices[0]
    tokens = reply.logprobs.content
    assert all(len(token.top_logprobs) == 3 and token.token == token.top_logprobs[0].token for token in tokens)
    assert all(token.logprob == token.top_logprobs[0].logprob <= 0 for token in tokens)
    events = ask(PROMPTS[2], logprobs=True, top_logprobs=3, stream=True)
    pieces = [event.choices[0].logprobs.content for event in events if event.choices[0].logprobs]
    assert [token for piece in pieces for token in piece] == tokens


def refused(error, **more):
    try:
        client.chat.completions.create(**{"model": name, "messages": [{"role": "user", "content": "a"}], **more})
    except error:
        return
    raise AssertionError(more)


def main():
    assert name in [model.id for model in client.models.list()]
    command = [program, "generate", "--model", model, "--device", "flex", "--max-new-tokens", str(TOKENS), "--json"]
    lines = subprocess.run([*command, *PROMPTS], capture_output=True, text=True, check=True).stdout.splitlines()
    expected = [json.loads(line)["text"] for line in lines]
    scored()
    refused(NotFoundError, model="no such model")
    refused(BadRequestError, messages=[])
    refused(BadRequestError, n=2)
    stop = expected[0][5:9]
    assert ask(PROMPTS[0], stop=[stop]).choices[0].message.content == expected[0][: expected[0].index(stop)]
    got = [None] * len(PROMPTS)

    def answer(number):
        got[number] = (streamed if number % 2 else whole)(PROMPTS[number])

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == expected, [pair for pair in zip(got, expected) if pair[0] != pair[1]]
    print(f"{len(PROMPTS)} answers at once, all those of generate")


main()
