//! A note behind a prompt.

/// Tokens that answers are conditioned on beside their prompt, and that are no part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    ids: Vec<u32>,
    /// What ends a prompt that an encoder reads: a note is a part of the prompt and stands before it.
    prompt_end: Option<u32>,
}

impl Note {
    pub(crate) fn new(ids: Vec<u32>, prompt_end: Option<u32>) -> Self {
        Self { ids, prompt_end }
    }

    /// Its tokens.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Puts the note behind the last words of `prompt`.
    pub fn write(&self, prompt: &mut Vec<u32>) {
        let end = prompt.pop_if(|last| Some(*last) == self.prompt_end);
        prompt.extend_from_slice(&self.ids);
        prompt.extend(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_prompt_stays_at_its_end() {
        let noted = |prompt: &[u32], end| {
            let mut prompt = prompt.to_vec();
            Note::new(vec![50, 51], end).write(&mut prompt);
            prompt
        };
        assert_eq!(noted(&[7, 8, 1], Some(1)), [7, 8, 50, 51, 1]);
        // One that was cut has none, and a decoder's none that counts.
        assert_eq!(noted(&[7, 8], Some(1)), [7, 8, 50, 51]);
        assert_eq!(noted(&[7, 8, 1], None), [7, 8, 1, 50, 51]);
        assert_eq!(noted(&[], Some(1)), [50, 51]);
    }
}
