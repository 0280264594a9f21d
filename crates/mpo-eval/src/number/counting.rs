//! Numbers in words: units behind digits (3万, 5 thousand), and Chinese characters.

use mpo_data::Language;

use super::marks;

/// Units that stand behind a number: language, word, power of ten. Longer words come first where one begins with another.
const UNITS: &[(&str, &str, usize)] = &[
    ("en", "hundred", 2),
    ("en", "thousand", 3),
    ("en", "million", 6),
    ("en", "billion", 9),
    ("de", "hundert", 2),
    ("de", "tausend", 3),
    ("de", "millionen", 6),
    ("de", "million", 6),
    ("de", "milliarden", 9),
    ("de", "milliarde", 9),
    ("es", "millones", 6),
    ("es", "millón", 6),
    ("es", "millon", 6),
    ("es", "mil", 3),
    ("fr", "millions", 6),
    ("fr", "million", 6),
    ("fr", "milliards", 9),
    ("fr", "milliard", 9),
    ("fr", "mille", 3),
    ("ru", "тысячи", 3),
    ("ru", "тысяча", 3),
    ("ru", "тысяч", 3),
    ("ru", "тыс", 3),
    ("ru", "миллионов", 6),
    ("ru", "миллиона", 6),
    ("ru", "миллион", 6),
    ("ru", "млн", 6),
    ("ru", "миллиардов", 9),
    ("ru", "миллиарда", 9),
    ("ru", "миллиард", 9),
    ("ru", "млрд", 9),
    ("bn", "শত", 2),
    ("bn", "হাজার", 3),
    ("bn", "লাখ", 5),
    ("bn", "লক্ষ", 5),
    ("bn", "কোটি", 7),
    ("hi", "सौ", 2),
    ("hi", "हज़ार", 3),
    ("hi", "हजार", 3),
    ("hi", "लाख", 5),
    ("hi", "करोड़", 7),
    ("te", "వందలు", 2),
    ("te", "వందల", 2),
    ("te", "వంద", 2),
    ("te", "వేలు", 3),
    ("te", "వేల", 3),
    ("te", "వెయ్యి", 3),
    ("te", "లక్షలు", 5),
    ("te", "లక్షల", 5),
    ("te", "లక్ష", 5),
    ("te", "కోట్లు", 7),
    ("te", "కోట్ల", 7),
    ("te", "కోటి", 7),
    ("th", "ร้อย", 2),
    ("th", "พัน", 3),
    ("th", "หมื่น", 4),
    ("th", "แสน", 5),
    ("th", "ล้าน", 6),
    ("ar", "ألف", 3),
    ("ar", "آلاف", 3),
    ("ar", "مليون", 6),
    ("ar", "ملايين", 6),
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
const UNITS_BEFORE: [(&str, usize); 5] = [("mia", 2), ("elfu", 3), ("laki", 5), ("milioni", 6), ("bilioni", 9)];

/// What makes 千 and 百 part of another word: kilogram, kilometre, kilowatt, department store, per cent.
const OTHER_WORDS: &str = "克米瓦卡赫帕焦伏字分货合";

/// The powers of ten of the units at `at`, and where they end; `at` without any. In 3千万 the second counts thousands.
pub(super) fn units(characters: &[char], at: usize, language: Option<Language>) -> (Vec<usize>, usize) {
    let (mut powers, mut end) = (vec![], at);
    while let Some((power, after)) = language.and_then(|of| unit(characters, end, of))
        && powers.last().is_none_or(|last| *last < power)
    {
        powers.push(power);
        end = after;
    }
    (powers, end)
}

/// The power of ten of the unit at `at`, and where it ends.
fn unit(characters: &[char], at: usize, language: Language) -> Option<(usize, usize)> {
    let begin = at + usize::from(characters.get(at) == Some(&' '));
    let mut known = UNITS.iter().filter(|(code, ..)| *code == language.code());
    known.find_map(|(_, word, power)| {
        let end = begin + word.chars().count();
        let there = characters.get(begin..end)?;
        let same = word.chars().zip(there).all(|(a, b)| b.to_lowercase().eq(a.to_lowercase()));
        let next = characters.get(end).copied().unwrap_or(' ');
        // Scripts without spaces begin the next word at once; in Bengali what is counted ends the word.
        let ends = match language.code() {
            "zh" | "ja" => !OTHER_WORDS.contains(next),
            "bn" | "ko" | "th" | "te" => true,
            _ => !next.is_alphanumeric(),
        };
        (same && ends).then_some((*power, end))
    })
}

/// The power of ten that a unit before `at` multiplies by.
pub(super) fn unit_before(characters: &[char], at: usize, language: Option<Language>) -> Option<usize> {
    if language?.code() != "sw" || at == 0 || characters[at - 1] != ' ' {
        return None;
    }
    let before = characters[..at - 1].iter().rev();
    let word: Vec<char> = before.take_while(|one| one.is_alphabetic()).take(8).copied().collect();
    let found =
        UNITS_BEFORE.iter().find(|(unit, _)| unit.chars().rev().eq(word.iter().flat_map(|one| one.to_lowercase())));
    found.map(|(_, power)| *power)
}

/// The last number of a Chinese or Japanese text that is written in characters: 二十, 一千二百三十四, 二〇二四, 一点五万. A lone 一
/// is more often a word's part, and counts where there is nothing else.
pub(super) fn in_characters(text: &str, language: Option<Language>) -> Option<String> {
    if !matches!(language?.code(), "zh" | "ja") {
        return None;
    }
    let is_part = |one| digit(one).is_some() || power(one).is_some() || POINTS.contains(&one);
    let runs: Vec<&str> = text
        .split(|character| !is_part(character))
        .map(|run| run.trim_matches(POINTS))
        .filter(|run| run.contains(|character| digit(character).is_some()) || *run == "十")
        .collect();
    let last = *runs.iter().rev().find(|run| **run != "一").or(runs.last())?;
    match last.split_once(POINTS) {
        None => characters_value(last),
        Some((whole, rest)) => decimal(whole, rest).or_else(|| characters_value(last.rsplit(POINTS).next()?)),
    }
}

/// What is the decimal point between digits.
const POINTS: [char; 2] = ['点', '點'];

/// The number before and behind a decimal point: digits, and units that count both. None if it is a time (三点十分), say.
fn decimal(whole: &str, rest: &str) -> Option<String> {
    let units = rest.trim_start_matches(|one| digit(one).is_some());
    let decimals: String =
        rest[..rest.len() - units.len()].chars().filter_map(|one| Some(digit(one)?.to_string())).collect();
    let shift: Option<u32> = units.chars().map(power).sum();
    let number = format!("{}.{decimals}", characters_value(whole)?);
    // 三点五十 is a time as well.
    let is_decimal = !decimals.is_empty() && !units.contains('十');
    is_decimal.then(|| Some(marks::shifted(&number, shift? as usize)))?
}

fn digit(character: char) -> Option<u128> {
    Some(match character {
        '〇' | '零' => 0,
        '两' | '兩' => 2,
        _ => "一二三四五六七八九".chars().position(|of| of == character)? as u128 + 1,
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
        let digits: String = run.chars().filter_map(digit).map(|digit| digit.to_string()).collect();
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
                total = if total > 0 && power == 8 {
                    total.checked_add(section)?.checked_mul(factor)?
                } else {
                    total.checked_add(section.max(1).checked_mul(factor)?)?
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
