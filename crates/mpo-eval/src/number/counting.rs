//! Numbers in words: units behind digits (3万, 5 thousand), and Chinese characters.

use mpo_data::Language;

/// Units that stand behind a number: language, word, power of ten. Longer words come first where one begins with another.
const UNITS: &[(&str, &str, usize)] = &[
    ("en", "thousand", 3),
    ("en", "million", 6),
    ("en", "billion", 9),
    ("de", "tausend", 3),
    ("de", "millionen", 6),
    ("de", "million", 6),
    ("es", "millones", 6),
    ("es", "millón", 6),
    ("es", "mil", 3),
    ("fr", "millions", 6),
    ("fr", "million", 6),
    ("fr", "mille", 3),
    ("ru", "тысячи", 3),
    ("ru", "тысяча", 3),
    ("ru", "тысяч", 3),
    ("ru", "тыс", 3),
    ("ru", "миллионов", 6),
    ("ru", "миллиона", 6),
    ("ru", "миллион", 6),
    ("ru", "млн", 6),
    ("bn", "হাজার", 3),
    ("bn", "লাখ", 5),
    ("bn", "লক্ষ", 5),
    ("bn", "কোটি", 7),
    ("hi", "हज़ार", 3),
    ("hi", "हजार", 3),
    ("hi", "लाख", 5),
    ("hi", "करोड़", 7),
    ("te", "వేల", 3),
    ("te", "లక్షల", 5),
    ("te", "లక్ష", 5),
    ("te", "కోట్ల", 7),
    ("th", "พัน", 3),
    ("th", "หมื่น", 4),
    ("th", "แสน", 5),
    ("th", "ล้าน", 6),
    ("ar", "ألف", 3),
    ("ar", "آلاف", 3),
    ("ar", "مليون", 6),
    ("zh", "万", 4),
    ("zh", "萬", 4),
    ("zh", "亿", 8),
    ("zh", "億", 8),
    ("zh", "千", 3),
    ("zh", "百", 2),
    ("ja", "万", 4),
    ("ja", "億", 8),
    ("ja", "千", 3),
    ("ja", "百", 2),
    ("ko", "만", 4),
    ("ko", "억", 8),
    ("ko", "천", 3),
    ("ko", "백", 2),
];

/// Units that Swahili puts before a number.
const UNITS_BEFORE: [(&str, usize); 3] = [("elfu", 3), ("laki", 5), ("milioni", 6)];

/// What makes 千 and 百 part of another word: kilogram, kilometre, kilowatt, department store, per cent.
const OTHER_WORDS: &str = "克米瓦卡赫帕焦伏字分货合";

/// The power of ten that units at `at` multiply by, and where they end; `at` without any.
pub(super) fn units(
    characters: &[char],
    at: usize,
    language: Option<Language>,
) -> (Option<usize>, usize) {
    let Some(language) = language else {
        return (None, at);
    };
    let begin = at + usize::from(characters.get(at) == Some(&' '));
    let known = UNITS.iter().filter(|(code, ..)| *code == language.code());
    let found = known.into_iter().find_map(|(_, word, power)| {
        let end = begin + word.chars().count();
        let there = characters.get(begin..end)?;
        let same = word
            .chars()
            .zip(there)
            .all(|(a, b)| b.to_lowercase().eq(a.to_lowercase()));
        let next = characters.get(end).copied().unwrap_or(' ');
        // Scripts without spaces begin the next word at once.
        let ends = match language.code() {
            "zh" | "ja" => !OTHER_WORDS.contains(next),
            "ko" | "th" | "te" => true,
            _ => !next.is_alphanumeric(),
        };
        (same && ends).then_some((*power, end))
    });
    match found {
        None => (None, at),
        Some((power, end)) => {
            // 3만 5천: what is added may stand apart in Korean.
            let apart = language.code() == "ko"
                && characters.get(end) == Some(&' ')
                && characters.get(end + 1).is_some_and(char::is_ascii_digit)
                && (2..6).any(|length| units_follow(characters, end + length, language));
            (Some(power), end + usize::from(apart))
        }
    }
}

/// The power of ten that a unit before `at` multiplies by.
pub(super) fn unit_before(
    characters: &[char],
    at: usize,
    language: Option<Language>,
) -> Option<usize> {
    if language?.code() != "sw" || at == 0 || characters[at - 1] != ' ' {
        return None;
    }
    let before = characters[..at - 1].iter().rev();
    let word: Vec<char> = before
        .take_while(|one| one.is_alphabetic())
        .take(8)
        .copied()
        .collect();
    let found = UNITS_BEFORE.iter().find(|(unit, _)| {
        unit.chars()
            .rev()
            .eq(word.iter().flat_map(|one| one.to_lowercase()))
    });
    found.map(|(_, power)| *power)
}

/// Whether a unit stands right at `at`.
fn units_follow(characters: &[char], at: usize, language: Language) -> bool {
    let after_digit = characters
        .get(at.wrapping_sub(1))
        .is_some_and(char::is_ascii_digit);
    let known = UNITS.iter().filter(|(code, ..)| *code == language.code());
    after_digit
        && known.into_iter().any(|(_, word, _)| {
            word.chars()
                .enumerate()
                .all(|(n, one)| characters.get(at + n) == Some(&one))
        })
}

/// The last number of a Chinese or Japanese text that is written in characters: 二十, 一千二百三十四, 二〇二四. A lone 一 is more
/// often a word's part, and counts where there is nothing else.
pub(super) fn in_characters(text: &str, language: Option<Language>) -> Option<String> {
    if !matches!(language?.code(), "zh" | "ja") {
        return None;
    }
    let runs: Vec<&str> = text
        .split(|character| digit(character).is_none() && power(character).is_none())
        .filter(|run| run.contains(|character| digit(character).is_some()) || *run == "十")
        .collect();
    let last = runs.iter().rev().find(|run| **run != "一");
    characters_value(last.or(runs.last())?)
}

fn digit(character: char) -> Option<u128> {
    Some(match character {
        '〇' | '零' => 0,
        '两' | '兩' => 2,
        _ => {
            "一二三四五六七八九"
                .chars()
                .position(|of| of == character)? as u128
                + 1
        }
    })
}

fn power(character: char) -> Option<u32> {
    Some(match character {
        '十' => 1,
        '百' => 2,
        '千' => 3,
        '万' | '萬' => 4,
        '亿' | '億' => 8,
        _ => return None,
    })
}

fn characters_value(run: &str) -> Option<String> {
    let powers: Vec<u32> = run.chars().filter_map(power).collect();
    if powers.is_empty() {
        let digits: String = run
            .chars()
            .filter_map(digit)
            .map(|digit| digit.to_string())
            .collect();
        let digits = digits.trim_start_matches('0');
        return Some(if digits.is_empty() { "0" } else { digits }.to_owned());
    }
    let (mut total, mut section, mut last) = (0_u128, 0_u128, None);
    for character in run.chars() {
        match (digit(character), power(character)) {
            (Some(digit), _) => last = Some(digit),
            (None, Some(power @ (4 | 8))) => {
                section = section.checked_add(last.take().unwrap_or(0))?;
                let factor = 10_u128.pow(power);
                // 万亿: what is before it counts as a whole.
                total = match total > 0 && power == 8 {
                    true => total.checked_add(section)?.checked_mul(factor)?,
                    false => total.checked_add(section.max(1).checked_mul(factor)?)?,
                };
                section = 0;
            }
            (None, Some(power)) => {
                section = section.checked_add(last.take().unwrap_or(1) * 10_u128.pow(power))?;
            }
            (None, None) => {}
        }
    }
    // 三百五 is 350, 三百零五 is 305.
    let mut ending = run.chars().rev();
    let (_, before) = (ending.next(), ending.next().and_then(power));
    let ones = last.unwrap_or(0) * before.map_or(1, |power| 10_u128.pow(power - 1));
    Some(total.checked_add(section)?.checked_add(ones)?.to_string())
}
