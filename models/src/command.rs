//! Commands that a user can copy into a shell.

use std::path::Path;

/// A command line that runs `code` on `dir` and, where there is an ending, on another folder whose name has it too.
pub(crate) fn python(code: &str, dir: &Path, ending: &str) -> String {
    let source = word(dir, "");
    let target = match ending {
        "" => String::new(),
        ending => format!(" {}", word(dir, ending)),
    };
    format!("python -c \"{code}\" {source}{target}")
}

/// A folder's path with an ending, as one word of the shell.
pub(crate) fn word(dir: &Path, ending: &str) -> String {
    let dir = dir.display().to_string();
    let dir = dir.trim_end_matches(['/', '\\']);
    format!("'{}{ending}'", dir.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_command_is_one_word_of_the_shell() {
        let command = python("code", Path::new("/a/it's $(here)/"), "-new");
        assert_eq!(command, r#"python -c "code" '/a/it'\''s $(here)' '/a/it'\''s $(here)-new'"#);
    }
}
