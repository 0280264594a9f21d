//! What an answer adds to a prompt, which the template is asked.

use super::{ChatTemplate, Problem};
use crate::error::DataError;
use crate::pair::{Message, Role};

/// What is said before the answer in the conversations that are written to find out.
const QUESTION: &str = "Prompt";
/// No template writes tabs around an answer of its own accord.
const AROUND: &str = "\t\t";
const ANSWER: &str = "ResponseToBeFound";

/// How a template writes an assistant's turn.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    /// The question, up to where the assistant begins to speak.
    prompt: String,
    /// Where the generation prompt begins in it.
    asked: usize,
    /// How much of it is there once it is answered: less where the generation prompt adds what no conversation has.
    shared: usize,
    /// The question and an answer.
    answered: String,
    /// Where the answer begins in that.
    begins: usize,
    /// Where it ends.
    ends: usize,
}

/// An assistant's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// How much of the prompt stands before it.
    pub(crate) after: usize,
    /// The answer and what is written around it, up to the end of the conversation.
    pub(crate) text: String,
}

impl Turns {
    /// Asks a template.
    ///
    /// # Errors
    /// If it fails, or writes no answers.
    pub(crate) fn of(template: &ChatTemplate) -> Result<Self, DataError> {
        let question = [Message::user(QUESTION)];
        let prompt = template.render(&question, true)?;
        // One that refuses to write a question alone has no generation prompt that can be told from it.
        let asked = template.render(&question, false).map_or(prompt.len(), |asked| common(&prompt, &asked));
        let answered = write(template, format!("{AROUND}{ANSWER}{AROUND}"))?;
        let Some((before, after)) = answered.rsplit_once(ANSWER) else {
            return Err(template
                .default
                .source
                .error(Problem::Failed("expected the assistant's message in what it writes, got none".into())));
        };
        let before = before.strip_suffix(AROUND).unwrap_or(before);
        let after = after.strip_prefix(AROUND).unwrap_or(after);
        Ok(Self {
            begins: before.len(),
            ends: answered.len() - after.len(),
            shared: common(&prompt, &answered),
            prompt,
            asked,
            answered,
        })
    }

    /// A conversation as the template writes it.
    pub(crate) fn conversation(&self) -> &str {
        &self.answered
    }

    /// What it writes behind an answer.
    pub(crate) fn ending(&self) -> &str {
        &self.answered[self.ends..]
    }

    /// A question as the template writes it, up to where the assistant begins to speak.
    pub(crate) fn prompt(&self) -> &str {
        &self.prompt
    }

    /// An answer's turn: what it adds to the prompt. Of a generation prompt that the conversation does not have, only the
    /// beginning that both have stands before it.
    ///
    /// # Errors
    /// If the template refuses the answer, or fails on it.
    pub(crate) fn turn(&self, template: &ChatTemplate, answer: &str) -> Result<Turn, DataError> {
        let whole = write(template, answer.into())?;
        let after = if whole.starts_with(&self.prompt) {
            self.prompt.len()
        } else {
            // What an answer happens to begin with is no part of the prompt.
            self.shared.min(common(&self.prompt, &whole))
        };
        if after >= self.asked {
            return Ok(Turn { after, text: whole[after..].into() });
        }
        // It writes a question otherwise once that is answered: all that is known to be the turn's is the answer.
        let begins = self.begins.min(common(&whole, &self.answered));
        Ok(Turn { after: self.prompt.len(), text: whole[begins..].into() })
    }
}

/// The question and an answer.
fn write(template: &ChatTemplate, content: String) -> Result<String, DataError> {
    let answer = Message { role: Role::Assistant, content };
    template.render(&[Message::user(QUESTION), answer], false)
}

/// The length of what two texts both begin with.
fn common(one: &str, other: &str) -> usize {
    let pairs = one.char_indices().zip(other.chars());
    let differs = pairs.into_iter().find(|((_, a), b)| a != b);
    differs.map_or(one.len().min(other.len()), |((at, _), _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{TemplateOptions, TemplateSource};
    use crate::tokenizer::SpecialTokens;

    fn template(source: &str) -> ChatTemplate {
        let source = TemplateSource { file: "chat.jinja".into(), text: source.into() };
        let tokens: SpecialTokens = [("eos_token", "</s>")].into_iter().collect();
        ChatTemplate::new(source.into(), &tokens, &TemplateOptions::default()).unwrap()
    }

    /// A template that writes turns between `before` and `after`, and `generation` where it is to be answered.
    fn chatml(before: &str, answer: &str, generation: &str) -> ChatTemplate {
        template(&format!(
            "{{% for m in messages %}}<{{{{ m.role }}}}>{{% if m.role == 'assistant' %}}{before}{{{{ {answer} }}}}\
             {{% else %}}{{{{ m.content }}}}{{% endif %}}<end>{{% endfor %}}\
             {{% if add_generation_prompt %}}{generation}{{% endif %}}"
        ))
    }

    #[test]
    fn an_answer_is_what_the_conversation_adds_to_the_prompt() {
        let (plain, thoughts) = ("Yes.\n\nNo.", "<think>\nHm.\n</think>\n\nYes.");
        let own = "m.content.split('</think>')[-1].lstrip('\n')";
        for (before, content, generation, answer, after, text) in [
            ("", "m.content", "<assistant>", plain, "<assistant>", "Yes.\n\nNo.<end>"),
            ("Answer: ", "m.content", "<assistant>", plain, "<assistant>", "Answer: Yes.\n\nNo.<end>"),
            ("", "m.content.replace('\n\n', '\n')", "<assistant>", plain, "<assistant>", "Yes.\nNo.<end>"),
            ("", "m.content", "", plain, "", "<assistant>Yes.\n\nNo.<end>"),
            ("<think></think>", "m.content", "<assistant>", plain, "<assistant>", "<think></think>Yes.\n\nNo.<end>"),
            // The generation prompt adds what conversations do not have.
            ("", own, "<assistant><think>\n", plain, "<assistant>", "Yes.\n\nNo.<end>"),
            ("", own, "<assistant><think>\n", thoughts, "<assistant>", "Yes.<end>"),
            ("", own, "<assistant><think>\n", "<b>", "<assistant>", "<b><end>"),
            ("", "m.content", "<assistant><think>\n", thoughts, "<assistant><think>\n", "Hm.\n</think>\n\nYes.<end>"),
        ] {
            let template = chatml(before, content, generation);
            let turns = Turns::of(&template).unwrap();
            let turn = turns.turn(&template, answer).unwrap();
            let kept = &turns.prompt()[..turn.after];
            assert_eq!(kept, format!("<user>Prompt<end>{after}"), "{content}");
            assert_eq!(turn.text, text, "{content}");
        }
    }

    #[test]
    fn a_question_that_is_written_otherwise_once_it_is_answered_is_no_part_of_the_answer() {
        let template = template(
            "{% for m in messages %}{{ '[last]' if loop.last and m.role == 'user' }}{{ m.content }} {% endfor %}",
        );
        let turns = Turns::of(&template).unwrap();
        let turn = turns.turn(&template, "Yes.").unwrap();
        assert_eq!(turns.prompt().len(), turn.after);
        assert_eq!(turn.text, "Yes. ");
    }

    #[test]
    fn the_end_of_a_turn_is_what_follows_the_response() {
        let each =
            |answer: &str| Turns::of(&template(&format!("{{% for m in messages %}}{{{{ {answer} }}}}{{% endfor %}}")));
        for (answer, ending) in [
            ("'<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n'", "<|im_end|>\n"),
            ("m.content", ""),
            ("' ' + m.content.strip() + ' ' + eos_token", " </s>"),
            ("m.content.lstrip() + eos_token", "</s>"),
        ] {
            assert_eq!(each(answer).unwrap().ending(), ending, "{answer}");
        }
        let error = each("'x'").unwrap_err().to_string();
        assert!(error.contains("expected the assistant's message"), "{error}");
    }
}
