//! A Modelfile: what Ollama makes a model of. Its templates are written in the language of Go, not in that of chat templates.

use mpo_data::{Message, Role, TextTokenizer};

/// The Modelfile of a GGUF file beside it. The template is in it where conversations can be written turn by turn.
pub(super) fn modelfile(file: &str, tokenizer: &TextTokenizer) -> String {
    let mut text = format!("FROM ./{file}\n");
    for id in tokenizer.stop_ids() {
        if let Some(stop) = tokenizer.token(id) {
            text += &format!("PARAMETER stop {}\n", serde_json::Value::from(stop));
        }
    }
    if let Some(turns) = Turns::of(tokenizer) {
        text += &turns.template();
    }
    text
}

/// What a chat template writes around what is said.
#[derive(Debug, PartialEq)]
struct Turns {
    /// What a conversation begins with where nobody says how the model is to behave.
    start: String,
    system: System,
    user: [String; 2],
    assistant: [String; 2],
}

/// Where the template writes how the model is to behave.
#[derive(Debug, PartialEq)]
enum System {
    /// Nowhere.
    Nowhere,
    /// In place of the start, between these.
    First([String; 2]),
    /// In the first turn of the user, before what is said there and this.
    InUser(String),
}

/// Texts that are in no template.
const SAID: [&str; 5] = ["quince", "medlar", "loquat", "damson", "sorrel"];

fn message(role: Role, content: &str) -> Message {
    Message { role, content: content.to_owned() }
}

impl Turns {
    /// Reads off what a template writes around texts, and makes sure that other conversations come out as it writes them.
    fn of(tokenizer: &TextTokenizer) -> Option<Self> {
        use Role::{Assistant, System as Instructions, User};
        let [instructions, first, answer, second, other] = SAID;
        // llama.cpp puts the token that begins a sequence itself.
        let bos = tokenizer.bos_id().and_then(|bos| tokenizer.token(bos)).unwrap_or_default();
        let render = |messages: &[Message], answer_follows: bool| {
            let text = tokenizer.template().render(messages, answer_follows).ok()?;
            Some(text.strip_prefix(&bos).unwrap_or(&text).to_owned())
        };
        let asked = [message(User, first)];
        let asked_twice = [message(User, first), message(Assistant, answer), message(User, second)];
        let one = render(&asked, true)?;
        let (before, after) = one.split_once(first)?;
        let closed = render(&asked, false)?;
        let (_, end_of_user) = closed.split_once(first)?;
        let open = after.strip_prefix(end_of_user)?;
        let answered = render(&asked_twice[..2], false)?;
        let (_, end_of_answer) = answered.split_once(answer)?;
        let twice = render(&asked_twice, true)?;
        let (_, between) = twice.split_once(answer)?;
        let user = between.split_once(second)?.0.strip_prefix(end_of_answer)?;
        let mut turns = Self {
            start: before.strip_suffix(user)?.to_owned(),
            system: System::Nowhere,
            user: [user.to_owned(), end_of_user.to_owned()],
            assistant: [open.to_owned(), end_of_answer.to_owned()],
        };
        let told = render(&[message(Instructions, instructions), message(User, first)], true);
        if let Some((before, rest)) = told.as_ref().and_then(|told| told.split_once(instructions)) {
            let (between, _) = rest.split_once(first)?;
            turns.system = match between.strip_suffix(user) {
                Some(behind) => System::First([before.to_owned(), behind.to_owned()]),
                None if before.strip_suffix(user)? == turns.start => System::InUser(between.to_owned()),
                None => return None,
            };
        }
        let mut conversations = vec![
            vec![message(User, other)],
            vec![message(User, second), message(Assistant, other), message(User, first)],
        ];
        if turns.system != System::Nowhere {
            let told = [message(Instructions, other)].into_iter().chain(asked_twice);
            conversations.push(told.collect());
        }
        let is_written =
            |messages: &Vec<Message>| render(messages, true).is_some_and(|text| text == turns.write(messages));
        let is_safe = |text: &String| !text.contains("{{") && !text.contains("\"\"\"");
        (turns.texts().all(is_safe) && conversations.iter().all(is_written)).then_some(turns)
    }

    /// All that it writes.
    fn texts(&self) -> impl Iterator<Item = &String> {
        let system = match &self.system {
            System::Nowhere => &[][..],
            System::First(around) => around,
            System::InUser(behind) => std::slice::from_ref(behind),
        };
        [&self.user, &self.assistant].into_iter().flatten().chain(system).chain([&self.start])
    }

    /// A conversation as Ollama writes it with [`template`](Self::template).
    fn write(&self, messages: &[Message]) -> String {
        let Self { start, system, user, assistant } = self;
        let mut text = start.clone();
        let mut is_open = false;
        for Message { role, content } in messages {
            match (role, system) {
                (Role::System, System::First([before, behind])) => text = format!("{before}{content}{behind}"),
                (Role::System, System::InUser(behind)) => {
                    text += &format!("{}{content}{behind}", user[0]);
                    is_open = true;
                }
                (Role::System, System::Nowhere) => {}
                (Role::User, _) => {
                    let before = if is_open { "" } else { &user[0] };
                    text += &format!("{before}{content}{}", user[1]);
                    is_open = false;
                }
                (Role::Assistant, _) => text += &format!("{}{content}{}", assistant[0], assistant[1]),
            }
        }
        text + &assistant[0]
    }

    /// The same in Go's language.
    fn template(&self) -> String {
        let Self { start, system, user, assistant } = self;
        let case = |role: &str, text: String| format!("if eq .Role \"{role}\" }}}}{text}{{{{ ");
        let said = "{{ .Content }}";
        let (start, in_turns, before) = match system {
            System::Nowhere => (start.clone(), String::new(), user[0].clone()),
            System::First([before, behind]) => {
                let otherwise = if start.is_empty() { String::new() } else { format!("{{{{ else }}}}{start}") };
                let start = format!("{{{{ if .System }}}}{before}{{{{ .System }}}}{behind}{otherwise}{{{{ end }}}}");
                (start, String::new(), user[0].clone())
            }
            System::InUser(behind) => {
                let start = format!("{start}{{{{ $open := false }}}}");
                let told = format!("{}{said}{behind}{{{{ $open = true }}}}", user[0]);
                let before = format!("{{{{ if not $open }}}}{}{{{{ end }}}}{{{{ $open = false }}}}", user[0]);
                (start, case("system", told) + "else ", before)
            }
        };
        let user = case("user", format!("{before}{said}{}", user[1]));
        let answered = case("assistant", format!("{}{said}{}", assistant[0], assistant[1]));
        let open = &assistant[0];
        format!(
            "TEMPLATE \"\"\"{start}{{{{ range .Messages }}}}{{{{ {in_turns}{user}else {answered}end }}}}{{{{ end }}}}{open}\"\"\"\n"
        )
    }
}
