//! Text to token ids and back, as a model's folder says.

mod config;
mod control;
mod guard;
#[cfg(test)]
pub(crate) mod testing;
mod translation;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

pub use config::SpecialTokens;
pub use translation::TranslationTokenizer;

use crate::error::DataError;
use crate::template::{
    ChatTemplate, Conversation, Parts, TemplateChoice, TemplateOptions, TemplateSources, Turn, Turns,
};
use crate::tokenized::Note;
use config::TokenizerConfig;
use control::ControlTokens;
use guard::Guarded;

/// A tokenizer with its chat template and the ids that end and pad a sequence.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    tokenizer: Guarded,
    template: ChatTemplate,
    control: Arc<ControlTokens>,
    /// Whether what texts spell out becomes control tokens.
    special_tokens_in_text: bool,
    /// The token that the tokenizer itself begins a sequence with.
    bos: Option<u32>,
    /// What ends a prompt without a template, where an encoder reads it.
    prompt_end: Option<u32>,
    eos: u32,
    pad: u32,
    response: Response,
    /// Ends a turn too, and is not written after a response.
    also_ends: Option<u32>,
    vocab_size: usize,
}

/// How a response is written.
#[derive(Debug, Clone)]
struct Response {
    /// What the template writes.
    turns: Turns,
    /// What it writes behind the control token that ends a turn; behind the answer where it writes none.
    rest: String,
    /// The last token of a turn.
    end: u32,
    /// Whether the template writes it.
    is_written: bool,
    /// Whether the tokenizer begins a text with a space that is not there.
    adds_space: bool,
}

/// A prompt and answers to it as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange<const N: usize> {
    /// The prompt, up to where the answers begin.
    pub prompt: Vec<u32>,
    /// Each answer and what ends it.
    pub answers: [Vec<u32>; N],
    /// What generation adds to the prompt and a conversation with these answers does not have; it is not in `prompt`.
    pub left_out: Option<String>,
}

/// A response as text.
struct Written {
    turn: Turn,
    /// Whether control tokens are broken up in it.
    broken: bool,
}

impl TextTokenizer {
    /// Reads `tokenizer.json`, what names its special tokens and, unless `options` name another, the chat template of a
    /// folder.
    ///
    /// # Errors
    /// If something is missing or is not what it should be.
    pub fn from_dir(dir: &Path, options: &TemplateOptions) -> Result<Self, DataError> {
        Self::of_model(dir, dir, options)
    }

    /// The same of a tokenizer whose model is in another folder: what ends a sequence may be said there.
    ///
    /// # Errors
    /// Those of [`from_dir`](Self::from_dir).
    pub fn of_model(dir: &Path, model: &Path, options: &TemplateOptions) -> Result<Self, DataError> {
        let tokenizer = Guarded::read(&dir.join("tokenizer.json"))?;
        let mut config = TokenizerConfig::read(dir)?;
        config.name_eos(model, |id| tokenizer.tokenizer().id_to_token(id))?;
        let tokens = &config.tokens;
        let template = match &options.template {
            TemplateChoice::Builtin(builtin) => ChatTemplate::builtin(*builtin, tokens, options)?,
            TemplateChoice::File(path) => ChatTemplate::new(TemplateSources::read(path)?, tokens, options)?,
            TemplateChoice::Auto => {
                let sources = TemplateSources::find(dir, config.template)?;
                ChatTemplate::new(sources, tokens, options)?
            }
        };
        Self::new(tokenizer, template, tokens, options)
    }

    /// Puts a tokenizer and its template together.
    fn new(
        tokenizer: Guarded,
        template: ChatTemplate,
        tokens: &SpecialTokens,
        options: &TemplateOptions,
    ) -> Result<Self, DataError> {
        let all = tokenizer.tokenizer();
        let id = |token: &str, role| {
            let missing = || DataError::MissingToken { token: token.into(), role };
            all.token_to_id(token).ok_or_else(missing)
        };
        let eos = id(tokens.get("eos_token").unwrap_or_default(), "end of sequence: `eos_token` of the tokenizer")?;
        let pad = match tokens.get("pad_token") {
            // The end-of-sequence token pads.
            None | Some("") => eos,
            Some(pad) => id(pad, "padding: `pad_token` of the tokenizer")?,
        };
        let turns = Turns::of(&template)?;
        let control = ControlTokens::new(all, tokens.texts(), turns.conversation())?;
        let ending = turns.ending();
        let end = match template.end_token() {
            Some(token) => {
                id(token, "end of a response: written by the chat template")?;
                ending.find(token).map(|at| at + token.len())
            }
            None => control.end_of_first(ending),
        };
        let (ending, rest) = ending.split_at(end.unwrap_or(0));
        let last = tokenizer.encode(ending, false)?.last().copied();
        let word = tokenizer.encode("a", false)?.first().copied();
        let piece = word.and_then(|word| all.id_to_token(word));
        let response = Response {
            rest: rest.into(),
            end: last.unwrap_or(eos),
            is_written: !ending.is_empty(),
            // As SentencePiece and byte-level tokenizers write it.
            adds_space: piece.is_some_and(|piece| piece.starts_with(['▁', 'Ġ'])),
            turns,
        };
        let also_ends = template.also_ends().and_then(|token| all.token_to_id(token));
        let first = tokenizer.encode("", true)?.first().copied();
        let bos = tokens.get("bos_token").and_then(|bos| all.token_to_id(bos));
        let largest = all.get_vocab(true).into_values().max();
        Ok(Self {
            bos: first.filter(|first| Some(*first) == bos),
            prompt_end: None,
            eos,
            pad,
            response,
            also_ends,
            vocab_size: largest.map_or(0, |largest| largest as usize + 1),
            control: Arc::new(control),
            special_tokens_in_text: options.special_tokens_in_text,
            tokenizer,
            template,
        })
    }

    /// The same for a model whose encoder reads prompts: without a template, one ends as the tokenizer ends a sequence.
    ///
    /// # Errors
    /// If the tokenizer fails on an empty text.
    pub fn for_encoder(self) -> Result<Self, DataError> {
        let last = self.tokenizer.encode("", true)?.last().copied();
        Ok(Self { prompt_end: last.filter(|last| *last == self.eos), ..self })
    }

    /// The prompt as the template writes it, up to where the assistant begins to speak. As in Transformers, nothing is
    /// added to what the template writes; where there is none (`plain`), a sequence begins as the tokenizer begins it.
    ///
    /// # Errors
    /// If the template refuses the conversation, or fails on it.
    pub fn encode_prompt<'a>(&self, conversation: impl Into<Conversation<'a>>) -> Result<Vec<u32>, DataError> {
        let (text, broken) = self.write_prompt(conversation.into())?;
        self.encode_written_prompt(&text, broken)
    }

    /// The prompt as text, and whether control tokens are broken up in it.
    fn write_prompt(&self, conversation: Conversation<'_>) -> Result<(String, bool), DataError> {
        let mut parts: Parts = conversation.into();
        let broken = !self.special_tokens_in_text && self.break_up(&mut parts);
        Ok((self.template.render_parts(parts, true)?, broken))
    }

    fn encode_written_prompt(&self, text: &str, broken: bool) -> Result<Vec<u32>, DataError> {
        let mut ids = self.encode(text, broken, false)?;
        if self.template.is_plain()
            && let Some(bos) = self.bos
        {
            ids.insert(0, bos);
        }
        if self.template.is_plain() {
            ids.extend(self.prompt_end);
        }
        Ok(ids)
    }

    /// A prompt and answers to it as they stand in a conversation: what generation alone adds to the prompt is left out.
    ///
    /// # Errors
    /// If the template refuses the conversation or an answer, or fails on it.
    pub fn encode_exchange<'a, const N: usize>(
        &self,
        conversation: impl Into<Conversation<'a>>,
        answers: [&str; N],
    ) -> Result<Exchange<N>, DataError> {
        let (text, broken) = self.write_prompt(conversation.into())?;
        let mut written = Vec::with_capacity(N);
        for answer in answers {
            written.push(self.write_response(answer)?);
        }
        let generation = self.response.turns.prompt();
        let after = written.iter().map(|one| one.turn.after);
        let after = after.min().unwrap_or(generation.len());
        let left_out = &generation[after..];
        let prompt = text.strip_suffix(left_out).unwrap_or(&text);
        let mut ids = [const { vec![] }; N];
        for (ids, written) in ids.iter_mut().zip(&written) {
            *ids = self.encode_written_response(written, after)?;
        }
        Ok(Exchange {
            prompt: self.encode_written_prompt(prompt, broken)?,
            answers: ids,
            left_out: (prompt.len() < text.len()).then(|| left_out.into()),
        })
    }

    /// A text without any template, as the tokenizer begins a sequence.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let mut text = text.to_owned();
        let broken = !self.special_tokens_in_text && self.control.is_in(&text);
        if broken {
            self.control.break_up(&mut text);
        }
        self.encode(&text, broken, true)
    }

    /// A response and what ends it, tokenized together, as the template writes them; and apart from the prompt, as the
    /// released code does.
    ///
    /// # Errors
    /// If the template or the tokenizer fails on it.
    pub fn encode_response(&self, response: &str) -> Result<Vec<u32>, DataError> {
        let written = self.write_response(response)?;
        self.encode_written_response(&written, written.turn.after)
    }

    /// A note that stands between a prompt and its answers, on a line of its own: behind the prompt of a generation or, where an
    /// encoder reads prompts, before what ends them. The same ids wherever one is trained behind, or answered behind.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn encode_note(&self, note: &str) -> Result<Note, DataError> {
        let prompt_end = self.prompt_end.filter(|_| self.template.is_plain());
        Ok(Note::new(self.encode_opening(&format!("{}\n", note.trim_end()))?, prompt_end))
    }

    /// What a response may open with, as it stands behind the prompt of a generation, without what ends a turn.
    fn encode_opening(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let mut text = text.to_owned();
        let broken = !self.special_tokens_in_text && self.control.is_in(&text);
        if broken {
            self.control.break_up(&mut text);
        }
        match self.encode_behind(self.response.turns.prompt(), &text, broken)? {
            Some(ids) => Ok(ids),
            None => self.encode(&text, broken, false),
        }
    }

    fn write_response(&self, response: &str) -> Result<Written, DataError> {
        let mut text = response.to_owned();
        let broken = !self.special_tokens_in_text && self.control.is_in(&text);
        if broken {
            self.control.break_up(&mut text);
        }
        let mut turn = self.response.turns.turn(&self.template, &text)?;
        if let Some(kept) = turn.text.strip_suffix(&self.response.rest) {
            turn.text.truncate(kept.len());
        }
        Ok(Written { turn, broken })
    }

    /// The ids of a response behind the first `after` bytes of the generation prompt.
    fn encode_written_response(&self, written: &Written, after: usize) -> Result<Vec<u32>, DataError> {
        let Written { turn, broken } = written;
        let prompt = self.response.turns.prompt();
        let text = format!("{}{}", &prompt[after..turn.after], turn.text);
        let mut ids = match self.encode_behind(&prompt[..after], &text, *broken)? {
            Some(ids) => ids,
            None => self.encode(&text, *broken, false)?,
        };
        if !self.response.is_written {
            ids.push(self.eos);
        }
        Ok(ids)
    }

    /// The ids that a text adds to those of a prompt, where the tokenizer would begin it with a space that no conversation
    /// has; none where they cannot be told apart.
    fn encode_behind(&self, prompt: &str, text: &str, broken: bool) -> Result<Option<Vec<u32>>, DataError> {
        if !self.response.adds_space || self.template.is_plain() {
            return Ok(None);
        }
        let before = self.encode(prompt, false, false)?;
        let all = self.encode(&format!("{prompt}{text}"), broken, false)?;
        Ok(all.strip_prefix(&*before).map(<[u32]>::to_vec))
    }

    /// Whether there were control tokens in the texts of a conversation; they are broken up.
    fn break_up(&self, parts: &mut Parts) -> bool {
        let mut found = false;
        parts.each_text(&mut |text| found |= self.control.is_in(text));
        if found {
            parts.each_text(&mut |text| self.control.break_up(text));
        }
        found
    }

    /// The ids of a text; `broken` says whether control tokens are broken up in it.
    fn encode(&self, text: &str, broken: bool, add_special_tokens: bool) -> Result<Vec<u32>, DataError> {
        if !broken {
            let ids = self.tokenizer.encode(text, add_special_tokens)?;
            // A normalizer may make control tokens of what was none.
            if self.special_tokens_in_text
                || add_special_tokens
                || self.control.are_all_of(text, &ids, self.tokenizer.unknown())
            {
                return Ok(ids);
            }
        }
        self.control.encode(&self.tokenizer, text, add_special_tokens)
    }

    /// The text of some ids, without special tokens.
    ///
    /// # Errors
    /// If the tokenizer fails on them.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        self.tokenizer.decode(ids, true)
    }

    /// The text of a token within a text, a special one's too. Where it is a part of a character, that is U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn token_text(&self, id: u32) -> Result<String, DataError> {
        // Some tokenizers drop the space that a text begins with.
        let [one, two] = [&[id][..], &[id, id]].map(|ids| self.tokenizer.decode(ids, false));
        let (one, two) = (one?, two?);
        Ok(two.get(one.len()..).map_or(one, str::to_owned))
    }

    /// The text of one token, a special one too.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.tokenizer().id_to_token(id)
    }

    /// The token that the tokenizer begins a sequence with, if it does so itself.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos
    }

    /// The ids at which generation stops: the end of the sequence and the end of a turn.
    pub fn stop_ids(&self) -> Vec<u32> {
        let ids: BTreeSet<u32> = [self.response.end, self.eos].into_iter().chain(self.also_ends).collect();
        ids.into_iter().collect()
    }

    /// The id that ends a sequence.
    pub fn eos_id(&self) -> u32 {
        self.eos
    }

    /// The id that fills a batch up.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// One more than the largest id: the rows an embedding must have at least.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The chat template.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// The source of a template that writes prompts as this one does in any program, also in one that does not know that
    /// `plain` begins a sequence as the tokenizer does.
    pub fn template_to_save(&self) -> String {
        let source = self.template.source();
        if self.template.is_plain() && self.bos.is_some() {
            format!("{{{{ bos_token }}}}{source}")
        } else {
            source.into()
        }
    }
}

pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    fs::read(path).map_err(|source| DataError::Io { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::testing::{CHATML, config, folder, load};
    use super::*;
    use crate::pair::{Message, MonolingualPair, Origin, Position, PreferencePair};
    use crate::rows::Rows;
    use crate::truncation::Truncation;

    #[test]
    fn prompts_are_what_the_template_writes_and_responses_end_the_turn() {
        let with_bos = format!("{{{{ bos_token }}}}{CHATML}");
        // Whether the tokenizer would add one does not matter: as in Transformers, it is not asked.
        let cases: [(bool, &str, &[u32]); 4] =
            [(true, CHATML, &[]), (true, &with_bos, &[0]), (false, CHATML, &[]), (false, &with_bos, &[0])];
        for (adds_bos, template, bos) in cases {
            let tokenizer = load(adds_bos, &config(template), TemplateChoice::Auto).unwrap();
            let prompt = tokenizer.encode_prompt(&[Message::user("bake bread")]).unwrap();
            assert_eq!(prompt, [bos, &[2, 5, 7, 8, 3, 2, 6]].concat());
            assert_eq!(tokenizer.encode_response("bread bread").unwrap(), [8, 8, 3]);
            assert_eq!(tokenizer.encode_opening("bread bake").unwrap(), [8, 7]);
            assert_eq!((tokenizer.stop_ids(), tokenizer.pad_id(), tokenizer.vocab_size()), (vec![1, 3], 1, 9));
            assert_eq!(tokenizer.decode(&prompt).unwrap(), "user bake bread assistant");
        }
    }

    #[test]
    fn answers_end_as_they_do_in_a_conversation() {
        let template = "{% for m in messages %}{{ m.role + ' ' + m.content.strip() + ' bake ' + eos_token }}{% endfor %}\
                        {% if add_generation_prompt %}assistant {% endif %}";
        let tokenizer = load(false, &config(template), TemplateChoice::Auto).unwrap();
        assert_eq!(tokenizer.encode_response(" bread\n").unwrap(), [8, 7, 1]);
        assert_eq!(tokenizer.stop_ids(), [1]);
    }

    #[test]
    fn prompts_of_answers_end_where_those_of_conversations_do() {
        let thinking = CHATML.replace("<turn>assistant ", "<turn>assistant bake bake ");
        for (template, left_out) in [(CHATML, None), (&thinking, Some("bake bake "))] {
            let tokenizer = load(false, &config(template), TemplateChoice::Auto).unwrap();
            let prompt = [Message::user("bake bread")];
            let exchange = tokenizer.encode_exchange(&prompt, ["bread", "baker"]).unwrap();
            assert_eq!(exchange.prompt, [2, 5, 7, 8, 3, 2, 6]);
            assert_eq!(exchange.answers, [vec![8, 3], vec![4, 3]]);
            assert_eq!(exchange.left_out.as_deref(), left_out);
            let row = MonolingualPair {
                pair: PreferencePair::new("en".parse().unwrap(), prompt.to_vec(), "bread".into(), "baker".into())
                    .unwrap(),
                origin: Origin { file: "f".into(), position: Position::Line(1) },
            };
            let (_, report) = Rows::Monolingual(vec![row]).tokenize(&tokenizer, Truncation::UNLIMITED).unwrap();
            assert_eq!(report.is_worth_saying(), left_out.is_some());
            let told = report.to_string().contains("without \"bake bake \": the chat");
            assert_eq!(told, left_out.is_some());
            // Generation meets all of it.
            let asked = tokenizer.encode_prompt(&prompt).unwrap();
            assert_eq!(asked.len(), if left_out.is_some() { 9 } else { 7 });
            // An answer that begins as the generation prompt does is one to it; a pair's prompt is one for both answers.
            let one = tokenizer.encode_exchange(&prompt, ["bake bake bread"]);
            let one = one.unwrap();
            assert_eq!([one.prompt, one.answers.concat()].concat(), [2, 5, 7, 8, 3, 2, 6, 7, 7, 8, 3]);
            let two = tokenizer.encode_exchange(&prompt, ["bake bake bread", "bread"]);
            let two = two.unwrap();
            assert_eq!(two.prompt, [2, 5, 7, 8, 3, 2, 6]);
            assert_eq!(two.answers, [vec![7, 7, 8, 3], vec![8, 3]]);
        }
    }

    #[test]
    fn an_answer_begins_with_a_space_where_a_conversation_has_one() {
        let ids = |scheme: &str, before: &str| {
            let template = format!(
                "{{% for m in messages %}}{{{{ m.role + ':{before}' + m.content }}}}<end>{{% endfor %}}\
                 {{% if add_generation_prompt %}}assistant:{{% endif %}}"
            );
            let folder = folder(false, &config(&template));
            let path = folder.path().join("tokenizer.json");
            let mut file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            file["pre_tokenizer"] = serde_json::json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false },
                { "type": "Split", "pattern": { "Regex": ":|▁" }, "behavior": "Isolated", "invert": false },
            ] });
            let words = ["<s>", "</s>", "<turn>", "<end>", "<unk>", "▁", ":", "assistant", "a", "bread"];
            let words = words.into_iter().zip(0..);
            file["model"]["vocab"] = words.map(|(word, id)| (word.to_owned(), serde_json::Value::from(id))).collect();
            fs::write(&path, file.to_string()).unwrap();
            let options = TemplateOptions::default();
            let tokenizer = TextTokenizer::from_dir(folder.path(), &options).unwrap();
            let exchange = tokenizer.encode_exchange(&[Message::user("a")], ["bread"]);
            exchange.unwrap().answers.concat()
        };
        for scheme in ["always", "first", "never"] {
            assert_eq!(ids(scheme, ""), [9, 3], "{scheme}");
            assert_eq!(ids(scheme, " "), [5, 9, 3], "{scheme}");
        }
    }

    #[test]
    fn the_plain_template_ends_with_eos() {
        let tokenizer = load(true, &config(CHATML), "plain".parse().unwrap()).unwrap();
        assert_eq!(tokenizer.encode_prompt(&[Message::user("bake bread")]).unwrap(), [0, 7, 8]);
        assert_eq!(tokenizer.encode_response("bread").unwrap(), [8, 1]);
    }

    /// As T5's tokenizer ends a sequence.
    #[test]
    fn a_prompt_for_an_encoder_ends_and_a_note_is_a_part_of_it() {
        let folder = folder(false, &config(CHATML));
        let path = folder.path().join("tokenizer.json");
        let mut file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let end = serde_json::json!({ "SpecialToken": { "id": "</s>", "type_id": 0 } });
        let special = serde_json::json!({ "</s>": { "id": "</s>", "ids": [1], "tokens": ["</s>"] } });
        file["post_processor"] = serde_json::json!({
            "type": "TemplateProcessing", "single": [{ "Sequence": { "id": "A", "type_id": 0 } }, end], "pair": [],
            "special_tokens": special,
        });
        fs::write(&path, file.to_string()).unwrap();
        let of = |template: &str| {
            let options = template.parse::<TemplateChoice>().unwrap().into();
            TextTokenizer::from_dir(folder.path(), &options).unwrap()
        };
        let prompt = |tokenizer: &TextTokenizer| tokenizer.encode_prompt(&[Message::user("bake bread")]).unwrap();
        let (alone, plain) = (of("plain"), of("plain").for_encoder().unwrap());
        assert_eq!((prompt(&alone), prompt(&plain)), (vec![7, 8], vec![7, 8, 1]));
        assert_eq!(alone.encode_note("bread").unwrap(), Note::new(vec![8], None));
        assert_eq!(plain.encode_note("bread").unwrap(), Note::new(vec![8], Some(1)));
        // A template says itself how a prompt ends.
        let written = of("auto").for_encoder().unwrap();
        assert_eq!(prompt(&written), prompt(&of("auto")));
        assert_eq!(written.encode_note("bread").unwrap(), Note::new(vec![8], None));
    }

    #[test]
    fn gemma_stops_at_the_end_of_a_turn_too_where_the_tokenizer_has_it() {
        let stops = |end: &str| {
            let folder = folder(false, r#"{"eos_token": "<eos>"}"#);
            let path = folder.path().join("tokenizer.json");
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("</s>", "<eos>").replace("<end>", end);
            fs::write(&path, text).unwrap();
            let options = "gemma".parse::<TemplateChoice>().unwrap().into();
            let tokenizer = TextTokenizer::from_dir(folder.path(), &options).unwrap();
            // What is trained on is the released code's.
            assert_eq!(tokenizer.encode_response("bread").unwrap(), [8, 1]);
            tokenizer.stop_ids()
        };
        assert_eq!(stops("<end_of_turn>"), [1, 3]);
        assert_eq!(stops("<end>"), [1]);
    }

    #[test]
    fn templates_are_found_where_hugging_face_puts_them() {
        let named = serde_json::json!({
            "eos_token": "</s>",
            "chat_template": [{ "name": "tool_use", "template": "x" }, { "name": "default", "template": CHATML }],
        });
        let folder = folder(false, &named.to_string());
        let prompt = || {
            let tokenizer = TextTokenizer::from_dir(folder.path(), &TemplateOptions::default())?;
            tokenizer.encode_prompt(&[Message::user("bake")])
        };
        assert_eq!(prompt().unwrap(), [2, 5, 7, 3, 2, 6]);
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        let writes = |text: &str| format!("{text}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}");
        write("chat_template.json", &serde_json::json!({ "chat_template": writes("user ") }).to_string());
        assert_eq!(prompt().unwrap(), [2, 5, 7, 3, 2, 6]);
        write("tokenizer_config.json", r#"{"eos_token": "</s>", "chat_template": null}"#);
        assert_eq!(prompt().unwrap(), [5, 7]);
        // Files of their own come first, and a folder of them without one for conversations has none.
        fs::create_dir(folder.path().join("additional_chat_templates")).unwrap();
        write("additional_chat_templates/tool_use.jinja", "x");
        let error = prompt().unwrap_err().to_string();
        assert!(error.ends_with("got tool_use"), "{error}");
        write("chat_template.jinja", &writes("assistant "));
        assert_eq!(prompt().unwrap(), [6, 7]);
    }

    #[test]
    fn what_a_folder_lacks_is_named() {
        let error = |config: &str, choice: &str| load(false, config, choice.parse().unwrap()).unwrap_err();
        assert!(matches!(error(r#"{"eos_token":"</s>"}"#, "auto"), DataError::NoTemplate { .. }));
        assert!(matches!(error("{}", "plain"), DataError::NoEndOfSequence(_)));
        assert!(matches!(error("{", "plain"), DataError::DamagedTokenizer { .. }));
        let cut = folder(false, &config(CHATML));
        let path = cut.path().join("tokenizer.json");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let cut = TextTokenizer::from_dir(cut.path(), &TemplateOptions::default()).unwrap_err();
        assert!(cut.to_string().contains("tokenizer.json: expected JSON, got: EOF"), "{cut}");
        assert!(cut.hint().unwrap().contains("download it again"));
        let other = error(&config(CHATML), "llama3");
        assert!(matches!(&other, DataError::MissingToken { token, .. } if token == "<|eot_id|>"), "{other}");
        let empty = tempfile::tempdir().unwrap();
        let missing = TextTokenizer::from_dir(empty.path(), &TemplateOptions::default()).unwrap_err();
        assert!(missing.to_string().contains("tokenizer.json"), "{missing}");
    }

    #[test]
    fn a_plain_template_is_saved_with_the_token_that_its_prompts_begin_with() {
        for adds_bos in [true, false] {
            let tokenizer = load(adds_bos, &config(CHATML), "plain".parse().unwrap()).unwrap();
            let saved = folder(adds_bos, &config(&tokenizer.template_to_save()));
            let saved = TextTokenizer::from_dir(saved.path(), &TemplateOptions::default()).unwrap();
            let prompt = [Message::user("bake bread")];
            assert_eq!(saved.encode_prompt(&prompt).unwrap(), tokenizer.encode_prompt(&prompt).unwrap());
            assert_eq!(saved.encode_response("bread").unwrap(), tokenizer.encode_response("bread").unwrap());
        }
    }
}
