// Continues prompts with llama.cpp, greedily, and compares with what `mpo-train generate` made of the same GGUF file or its source.
//
//     npm install --ignore-scripts node-llama-cpp@3.22.1     # llama.cpp, built, as a package
//     mpo-train convert MODEL -o model.gguf
//     mpo-train generate --model MODEL --raw --json --max-new-tokens 32 < prompts.txt > answers.jsonl
//     node check_llama_cpp.mjs model.gguf answers.jsonl
//
// It exits 1 where a text is another one. With q8_0 many are: llama.cpp rounds what it multiplies by such weights to 8 bits too.
import {readFileSync} from "node:fs";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

// The package lies where the program is started, not beside this file.
const {getLlama} = await import(pathToFileURL(createRequire(process.cwd() + "/").resolve("node-llama-cpp")));
const [file, answers] = process.argv.slice(2);
const lines = readFileSync(answers, "utf8").trim().split("\n").map((line) => JSON.parse(line));
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error"});
const model = await llama.loadModel({modelPath: file, gpuLayers: 0});
const context = await model.createContext({contextSize: 1024, threads: 1});

let same = 0;
for (const {prompt, text, tokens = 32} of lines) {
    // `--raw` gives the prompt and a line break.
    const ids = model.tokenize(prompt + "\n", true);
    if (model.tokens.shouldPrependBosToken && ids[0] !== model.tokens.bos) ids.unshift(model.tokens.bos);
    const sequence = context.getSequence();
    const made = [];
    for await (const token of sequence.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
        if (model.isEogToken(token)) break;
        made.push(token);
        if (made.length >= tokens) break;
    }
    sequence.dispose();
    const theirs = model.detokenize(made);
    if (theirs.trim() === text.trim()) same += 1;
    else console.log(`${JSON.stringify(prompt)}\n  ours       ${JSON.stringify(text)}\n  llama.cpp  ${JSON.stringify(theirs)}`);
}
console.log(`${same} of ${lines.length} the same`);
process.exit(same === lines.length ? 0 : 1);
