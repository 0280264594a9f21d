//! Numbers as people write them: in the digits of any script, with any mark before decimals or between thousands.

mod compound;
mod counting;
mod marks;

use mpo_data::Language;

/// The last number of a text in a language, without separators of thousands and without zeros behind its decimal mark.
/// `None` without a number.
///
/// The language decides what `1.234` is: 1234 in German, 1.234 in English and where no language is known.
pub fn final_number(text: &str, language: Option<Language>) -> Option<String> {
    let number = last(text, language)?;
    Some(number.value)
}

/// Whether the last number of a text is the one expected. `1,234` in a language with a decimal comma is two numbers at
/// once, for models mix English figures into it: either counts.
pub(crate) fn is_final_number(text: &str, language: Option<Language>, expected: &str) -> bool {
    last(text, language)
        .is_some_and(|number| number.value == expected || number.in_english.is_some_and(|other| other == expected))
}

/// A number without separators.
#[derive(Debug, Clone, PartialEq)]
struct Number {
    value: String,
    /// What it is to an English reader, where that is another number.
    in_english: Option<String>,
}

fn last(text: &str, language: Option<Language>) -> Option<Number> {
    let characters = plain(text);
    let mut last = None;
    let mut at = 0;
    while at < characters.len() {
        if characters[at].is_ascii_digit() {
            let (number, end) = number(&characters, at, language);
            last = Some(number);
            at = end;
        } else {
            at += 1;
        }
    }
    // A text without a digit may still count in words.
    last.or_else(|| {
        let value = counting::in_characters(text, language)?;
        Some(Number { value, in_english: None })
    })
}

/// The number whose first digit is at `start`, and where it ends.
fn number(characters: &[char], start: usize, language: Option<Language>) -> (Number, usize) {
    let first = compound::term(characters, start, language);
    let power = first.units.iter().sum();
    let run = &first.run;
    let (value, in_english, end) = match compound::with_smaller(characters, &first, language) {
        Some((sum, end)) => (sum, None, end),
        None => {
            let in_units = |number: &String| marks::shifted(number, power);
            let in_english = run.in_english.as_ref().map(in_units);
            (in_units(&run.value), in_english, first.end)
        }
    };
    let sign = if is_negative(characters, run.start) { "-" } else { "" };
    let signed = |value: String| match &*value {
        "0" => value,
        _ => format!("{sign}{value}"),
    };
    let number = Number { value: signed(value), in_english: in_english.map(signed) };
    (number, end)
}

/// Whether a sign stands before the number at `start`, and not a hyphen or a difference: -5, -$5 and $-5, but not 3-5.
fn is_negative(characters: &[char], start: usize) -> bool {
    let before = |at: usize| at.checked_sub(1).map(|at| characters[at]);
    let mut at = start;
    while before(at).is_some_and(is_currency) {
        at -= 1;
    }
    if !before(at).is_some_and(|sign| matches!(sign, '-' | '−' | '－' | '﹣')) {
        return false;
    }
    at -= 1;
    while before(at).is_some_and(is_currency) {
        at -= 1;
    }
    !before(at).is_some_and(|character| character.is_alphanumeric() || matches!(character, ')' | ']' | '}' | '%'))
}

fn is_currency(character: char) -> bool {
    matches!(character, '$' | '€' | '£' | '¥' | '￥' | '₹' | '৳' | '฿' | '₽' | '₩' | '₺' | '₫' | '₪' | '₦' | '¢' | '＄')
}

/// The text with ASCII digits and one form of each letter, and without what LaTeX writes around marks: `1{,}234`, `1\,234`, `\$5`.
fn plain(text: &str) -> Vec<char> {
    let text = text
        .replace("{,}", ",")
        .replace("{.}", ".")
        .replace("\\,", "\u{2009}")
        .replace("\\ ", "\u{00A0}")
        .replace("\\!", "")
        .replace("\\$", "$")
        // Hindi letters that can be written as one character or two.
        .replace('\u{095B}', "ज\u{093C}")
        .replace('\u{095C}', "ड\u{093C}");
    text.chars().map(ascii_digit).collect()
}

/// A digit of another script as its ASCII one; other characters as they are.
fn ascii_digit(character: char) -> char {
    // The zeros of scripts; their digits follow. Arabic, Persian, N'Ko, Devanagari, Bengali, Gurmukhi, Gujarati, Oriya,
    // Tamil, Telugu, Kannada, Malayalam, Sinhala, Thai, Lao, Tibetan, Burmese, Khmer, Mongolian, full-width.
    const ZEROS: [char; 20] =
        ['٠', '۰', '߀', '०', '০', '੦', '૦', '୦', '௦', '౦', '೦', '൦', '෦', '๐', '໐', '༠', '၀', '០', '᠐', '０'];
    let digit = ZEROS.iter().find_map(|&zero| {
        let value = (character as u32).checked_sub(zero as u32)?;
        char::from_digit(value, 10)
    });
    digit.unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(language: &str, cases: &[(&str, &str)]) {
        for (text, number) in cases {
            let got = final_number(text, language.parse().ok());
            let expected = (!number.is_empty()).then_some(*number);
            assert_eq!(got.as_deref(), expected, "{language}: {text}");
        }
    }

    #[test]
    fn the_last_number() {
        reads(
            "none",
            &[
                ("The answer is 18.", "18"),
                ("She makes 9 * 2 = $18 a day", "18"),
                ("It costs $1,234.50.", "1234.5"),
                ("70,000 in all", "70000"),
                ("3.0", "3"),
                ("12.00", "12"),
                ("minus: -5", "-5"),
                ("from 3-5", "5"),
                ("উত্তর ১৮।", "18"),
                ("答えは１２です", "12"),
                ("١٢٫٥", "12.5"),
                ("none at all", ""),
                ("", ""),
            ],
        );
    }

    #[test]
    fn english_figures() {
        reads(
            "en",
            &[
                ("72 apples, altogether.", "72"),
                ("so \\boxed{9500}", "9500"),
                ("$\\boxed{1{,}234}$", "1234"),
                ("1\\,234", "1234"),
                ("1.234", "1.234"),
                ("1,234,567.5 metres", "1234567.5"),
                ("0,125", "0.125"),
                ("0.500", "0.5"),
                ("$.50", "0.5"),
                ("40%", "40"),
                ("a total of = 5", "5"),
                ("12 345", "345"),
                ("12\u{202F}345", "12345"),
                ("sizes 1,2,3", "3"),
                ("007", "7"),
                ("10 x 000", "0"),
                ("3 thousand", "3000"),
                ("2.5 million.", "2500000"),
            ],
        );
    }

    #[test]
    fn marks_of_other_languages() {
        reads(
            "de",
            &[
                ("Das sind 1.234 Euro.", "1234"),
                ("12,50 €", "12.5"),
                ("1.234.567,89", "1234567.89"),
                ("1'234", "1234"),
                ("1’234.50 Fr.", "1234.5"),
                ("80 000", "80000"),
                ("3 Millionen", "3000000"),
            ],
        );
        reads(
            "fr",
            &[
                ("80 000 euros", "80000"),
                ("80\u{A0}000", "80000"),
                ("1 234,5", "1234.5"),
                ("1\u{202F}234\u{202F}567", "1234567"),
                ("en 2019 500 pommes", "500"),
                ("2 + 3 = 5", "5"),
                ("12 mille", "12000"),
            ],
        );
        reads("ru", &[("1 234,50 руб.", "1234.5"), ("5 тысяч", "5000")]);
        reads("es", &[("80 mil dólares", "80000"), ("12.345", "12345")]);
        reads("bn", &[("১,২৩৪", "1234"), ("১২,৩৪,৫৬৭ টাকা", "1234567"), ("৫ হাজার টাকা", "5000"), ("২ লাখ", "200000")]);
        reads("th", &[("๑,๒๓๔ บาท", "1234"), ("5 หมื่น", "50000")]);
        reads("te", &[("౧,౨౩౪", "1234"), ("1,00,000", "100000")]);
        reads("hi", &[("१,००,०००", "100000"), ("५ लाख", "500000")]);
        reads("ar", &[("١٬٢٣٤٫٥", "1234.5"), ("١٢٣٤", "1234")]);
        reads("sw", &[("jumla ni 1,234", "1234"), ("elfu 80", "80000")]);
    }

    #[test]
    fn east_asian_units() {
        reads(
            "zh",
            &[
                ("一共3万元", "30000"),
                ("1.5万", "15000"),
                ("1万2千", "12000"),
                ("2千克", "2"),
                ("每天跑5千米", "5"),
                ("答案是二十。", "20"),
                ("一共一千二百三十四个", "1234"),
                ("两万零五", "20005"),
                ("他们一共有十二个，大家一起走。", "12"),
                ("共１，２３４元", "1234"),
                ("二〇二四", "2024"),
                ("三百五", "350"),
            ],
        );
        reads("ja", &[("2万3000円", "23000"), ("答えは二十五です", "25")]);
        reads("ko", &[("3만 5천 원", "35000"), ("1만2천", "12000")]);
        // Where they are words of another language they are none.
        reads("en", &[("二十", "")]);
    }

    #[test]
    fn parts_with_smaller_units_are_added() {
        reads(
            "en",
            &[
                ("1 million 200 thousand", "1200000"),
                ("1 million and 200 thousand.", "1200000"),
                ("5 thousand 3 hundred 20 people", "5320"),
                ("1 hundred 20 thousand", "120000"),
                ("$1.5 million", "1500000"),
                ("-1 million 200 thousand", "-1200000"),
                // Several numbers.
                ("2 thousand apples and 3 pears", "3"),
                ("2 thousand and 3 pears", "3"),
                ("2 thousand 3 thousand", "3000"),
                ("2 thousand, 300", "300"),
                ("1 thousand 2000", "2000"),
                ("2 thousand 1,2,3", "3"),
                ("1 thousand 2.5 kg", "2.5"),
            ],
        );
        reads("de", &[("2 Millionen 300 Tausend", "2300000")]);
        reads("es", &[("1 millón 200 mil", "1200000"), ("2 mil millones", "2000000000")]);
        reads("fr", &[("1 million 200 mille", "1200000"), ("1 million 200 000", "1200000")]);
        reads("ru", &[("1 миллион 200 тысяч", "1200000"), ("1 млн и 200 тыс. рублей", "1200000")]);
        reads("bn", &[("১ লক্ষ ২০ হাজার টাকা", "120000"), ("৫ হাজার ৩০০", "5300"), ("৫ হাজারটি আপেল", "5000")]);
        reads("hi", &[("1 लाख 20 हज़ार", "120000"), ("1 लाख 20 ह\u{095B}ार रुपये", "120000")]);
        reads("te", &[("1 లక్ష 20 వేలు", "120000"), ("3 లక్షలు", "300000")]);
        reads("th", &[("1 แสน 2 หมื่น", "120000"), ("1แสน2หมื่น3พันบาท", "123000")]);
        reads("ar", &[("1 مليون و 200 ألف", "1200000"), ("1 مليون و200 ألف", "1200000")]);
        reads(
            "sw",
            &[
                ("laki 1 na elfu 20", "120000"),
                ("elfu 5 mia 3", "5300"),
                ("elfu 5 na 300", "5300"),
                ("elfu 5 na mayai 3", "3"),
                ("milioni 1 laki 2 elfu 5", "1205000"),
                ("Ana elfu 2 na elfu 3", "3000"),
            ],
        );
        reads(
            "zh",
            &[("3千万", "30000000"), ("1亿2千3百万", "123000000"), ("3万 5千", "35000"), ("一共3万 12个月", "12")],
        );
        reads("ko", &[("1천2백만 원", "12000000"), ("3만 5000원", "35000")]);
    }

    #[test]
    fn chinese_decimals() {
        reads(
            "zh",
            &[
                ("三点五", "3.5"),
                ("一共一点五万元", "15000"),
                ("十二点零五", "12.05"),
                ("零點五", "0.5"),
                ("快一点", "1"),
                ("十二个，快一点", "12"),
                ("三点十分", "10"),
                ("三点五十分", "50"),
                ("下午三点", "3"),
                ("两点五亿", "250000000"),
            ],
        );
    }

    #[test]
    fn signs() {
        reads(
            "en",
            &[
                ("-$5", "-5"),
                ("$-5", "-5"),
                ("−5", "-5"),
                ("= -1,234", "-1234"),
                ("10-5", "5"),
                ("$10-$5", "5"),
                ("(3)-5", "5"),
                ("- 5", "5"),
                ("-0", "0"),
            ],
        );
    }

    #[test]
    fn an_english_comma_in_a_language_with_a_decimal_one_may_be_either() {
        let is = |text, language: &str, expected| is_final_number(text, language.parse().ok(), expected);
        assert!(is("1,234", "de", "1234") && is("1,234", "de", "1.234"));
        assert!(is("1.234", "de", "1234") && !is("1.234", "de", "1.234"));
        assert!(!is("1.234", "en", "1234") && is("1,234", "en", "1234"));
        assert!(!is("0,125", "de", "125") && !is("12,5", "de", "125"));
    }

    #[test]
    fn nothing_written_is_too_long() {
        let digits = "9".repeat(100_000);
        assert_eq!(final_number(&digits, None), Some(digits.clone()));
        assert!(final_number(&"1,2.3'4 ".repeat(50_000), "fr".parse().ok()).is_some());
        assert!(final_number(&"九万".repeat(50_000), "zh".parse().ok()).is_some());
    }
}
