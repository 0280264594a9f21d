//! A human language, by its ISO 639 code.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// A language of ISO 639: its two-letter code where it has one, else its three-letter code. Only codes of the standard
/// can be built.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language([u8; 3]);

impl Language {
    /// The code, such as `sw`, or `ceb` for a language without a two-letter one.
    pub fn code(&self) -> &str {
        let length = if self.0[2] == 0 { 2 } else { 3 };
        str::from_utf8(&self.0[..length]).unwrap_or_default()
    }

    /// The English name, such as `Swahili`.
    pub fn name(&self) -> &str {
        let table = ISO_639_1.iter().find(|(code, _)| *code == self.code());
        match (table, isolang::Language::from_639_3(self.code())) {
            (Some((_, name)), _) => name,
            (None, Some(language)) => language.to_name(),
            (None, None) => self.code(),
        }
    }

    /// The language of a lower-case code.
    fn of_code(code: &str) -> Option<Self> {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == code);
        let code = alias.map_or(code, |(_, code)| code);
        match *code.as_bytes() {
            [a, b] => ISO_639_1.iter().any(|(known, _)| *known == code).then_some(Self([a, b, 0])),
            [a, b, c] => {
                let known = isolang::Language::from_639_3(code)?;
                match known.to_639_1() {
                    Some(short) => Self::of_code(short),
                    None => Some(Self([a, b, c])),
                }
            }
            _ => None,
        }
    }
}

/// The language of an English name in any case; what stands in brackets after it is ignored.
fn of_name(name: &str) -> Option<Language> {
    let name = name.split(['(', ',']).next().unwrap_or_default().trim();
    if let Some(language) = in_tables(name) {
        return Some(language);
    }
    // Shorter ones are too easily something else.
    let name = (name.len() > 3).then(|| name.to_owned())?;
    let mut found = isolang::Language::match_names(move |known| known.eq_ignore_ascii_case(&name));
    Language::of_code(found.next()?.to_639_3())
}

fn in_tables(name: &str) -> Option<Language> {
    let mut table = ISO_639_1.iter().chain(&OTHER_NAMES);
    let (code, _) = table.find(|(_, known)| known.eq_ignore_ascii_case(name))?;
    Language::of_code(code)
}

impl FromStr for Language {
    type Err = DataError;

    /// Reads a code of ISO 639-1 or 639-3, a tag that begins with one (`zh-CN`, `pt_BR`, `swh_Latn`), or an English
    /// name; case does not matter.
    fn from_str(text: &str) -> Result<Self, DataError> {
        let lower = text.trim().to_ascii_lowercase();
        let mut subtags = lower.split(['-', '_']);
        let code = subtags.next().unwrap_or_default();
        let is_tag =
            subtags.all(|subtag| (2..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric()));
        let tagged = is_tag.then(|| Self::of_code(code)).flatten();
        tagged.or_else(|| of_name(&lower)).ok_or_else(|| DataError::UnknownLanguage(text.into()))
    }
}

impl TryFrom<String> for Language {
    type Error = DataError;

    fn try_from(code: String) -> Result<Self, DataError> {
        code.parse()
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.code().into()
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Codes that mean the same as another: withdrawn ones, the bibliographic ones of ISO 639-2, and the single language
/// that usually stands for a group with a two-letter code.
#[rustfmt::skip]
const ALIASES: [(&str, &str); 46] = [
    ("iw", "he"), ("in", "id"), ("ji", "yi"), ("jw", "jv"), ("mo", "ro"),
    ("alb", "sq"), ("arm", "hy"), ("baq", "eu"), ("bur", "my"), ("chi", "zh"), ("cze", "cs"), ("dut", "nl"),
    ("fre", "fr"), ("geo", "ka"), ("ger", "de"), ("gre", "el"), ("ice", "is"), ("mac", "mk"), ("mao", "mi"),
    ("may", "ms"), ("per", "fa"), ("rum", "ro"), ("slo", "sk"), ("tib", "bo"), ("wel", "cy"),
    ("als", "sq"), ("arb", "ar"), ("ayr", "ay"), ("azj", "az"), ("cmn", "zh"), ("ekk", "et"), ("fil", "tl"),
    ("gaz", "om"), ("khk", "mn"), ("kmr", "ku"), ("lvs", "lv"), ("npi", "ne"), ("ory", "or"), ("pbt", "ps"),
    ("pes", "fa"), ("plt", "mg"), ("quy", "qu"), ("swh", "sw"), ("uzn", "uz"), ("ydd", "yi"), ("zsm", "ms"),
];

/// Names beside those of the table.
#[rustfmt::skip]
const OTHER_NAMES: [(&str, &str); 13] = [
    ("bn", "Bangla"), ("es", "Castilian"), ("fa", "Farsi"), ("tl", "Filipino"), ("sw", "Kiswahili"), ("zh", "Mandarin"),
    ("zh", "Simplified Chinese"), ("zh", "Traditional Chinese"), ("my", "Myanmar"), ("or", "Odia"), ("pa", "Panjabi"),
    ("el", "Modern Greek"), ("si", "Sinhalese"),
];

#[rustfmt::skip]
const ISO_639_1: [(&str, &str); 183] = [
    ("aa", "Afar"), ("ab", "Abkhazian"), ("ae", "Avestan"), ("af", "Afrikaans"), ("ak", "Akan"), ("am", "Amharic"),
    ("an", "Aragonese"), ("ar", "Arabic"), ("as", "Assamese"), ("av", "Avaric"), ("ay", "Aymara"),
    ("az", "Azerbaijani"), ("ba", "Bashkir"), ("be", "Belarusian"), ("bg", "Bulgarian"), ("bi", "Bislama"),
    ("bm", "Bambara"), ("bn", "Bengali"), ("bo", "Tibetan"), ("br", "Breton"), ("bs", "Bosnian"), ("ca", "Catalan"),
    ("ce", "Chechen"), ("ch", "Chamorro"), ("co", "Corsican"), ("cr", "Cree"), ("cs", "Czech"),
    ("cu", "Church Slavic"), ("cv", "Chuvash"), ("cy", "Welsh"), ("da", "Danish"), ("de", "German"),
    ("dv", "Divehi"), ("dz", "Dzongkha"), ("ee", "Ewe"), ("el", "Greek"), ("en", "English"), ("eo", "Esperanto"),
    ("es", "Spanish"), ("et", "Estonian"), ("eu", "Basque"), ("fa", "Persian"), ("ff", "Fulah"), ("fi", "Finnish"),
    ("fj", "Fijian"), ("fo", "Faroese"), ("fr", "French"), ("fy", "Western Frisian"), ("ga", "Irish"),
    ("gd", "Scottish Gaelic"), ("gl", "Galician"), ("gn", "Guarani"), ("gu", "Gujarati"), ("gv", "Manx"),
    ("ha", "Hausa"), ("he", "Hebrew"), ("hi", "Hindi"), ("ho", "Hiri Motu"), ("hr", "Croatian"), ("ht", "Haitian"),
    ("hu", "Hungarian"), ("hy", "Armenian"), ("hz", "Herero"), ("ia", "Interlingua"), ("id", "Indonesian"),
    ("ie", "Interlingue"), ("ig", "Igbo"), ("ii", "Sichuan Yi"), ("ik", "Inupiaq"), ("io", "Ido"),
    ("is", "Icelandic"), ("it", "Italian"), ("iu", "Inuktitut"), ("ja", "Japanese"), ("jv", "Javanese"),
    ("ka", "Georgian"), ("kg", "Kongo"), ("ki", "Kikuyu"), ("kj", "Kuanyama"), ("kk", "Kazakh"),
    ("kl", "Kalaallisut"), ("km", "Khmer"), ("kn", "Kannada"), ("ko", "Korean"), ("kr", "Kanuri"),
    ("ks", "Kashmiri"), ("ku", "Kurdish"), ("kv", "Komi"), ("kw", "Cornish"), ("ky", "Kyrgyz"), ("la", "Latin"),
    ("lb", "Luxembourgish"), ("lg", "Ganda"), ("li", "Limburgish"), ("ln", "Lingala"), ("lo", "Lao"),
    ("lt", "Lithuanian"), ("lu", "Luba-Katanga"), ("lv", "Latvian"), ("mg", "Malagasy"), ("mh", "Marshallese"),
    ("mi", "Maori"), ("mk", "Macedonian"), ("ml", "Malayalam"), ("mn", "Mongolian"), ("mr", "Marathi"),
    ("ms", "Malay"), ("mt", "Maltese"), ("my", "Burmese"), ("na", "Nauru"), ("nb", "Norwegian Bokmål"),
    ("nd", "North Ndebele"), ("ne", "Nepali"), ("ng", "Ndonga"), ("nl", "Dutch"), ("nn", "Norwegian Nynorsk"),
    ("no", "Norwegian"), ("nr", "South Ndebele"), ("nv", "Navajo"), ("ny", "Chichewa"), ("oc", "Occitan"),
    ("oj", "Ojibwa"), ("om", "Oromo"), ("or", "Oriya"), ("os", "Ossetian"), ("pa", "Punjabi"), ("pi", "Pali"),
    ("pl", "Polish"), ("ps", "Pashto"), ("pt", "Portuguese"), ("qu", "Quechua"), ("rm", "Romansh"), ("rn", "Rundi"),
    ("ro", "Romanian"), ("ru", "Russian"), ("rw", "Kinyarwanda"), ("sa", "Sanskrit"), ("sc", "Sardinian"),
    ("sd", "Sindhi"), ("se", "Northern Sami"), ("sg", "Sango"), ("si", "Sinhala"), ("sk", "Slovak"),
    ("sl", "Slovenian"), ("sm", "Samoan"), ("sn", "Shona"), ("so", "Somali"), ("sq", "Albanian"), ("sr", "Serbian"),
    ("ss", "Swati"), ("st", "Southern Sotho"), ("su", "Sundanese"), ("sv", "Swedish"), ("sw", "Swahili"),
    ("ta", "Tamil"), ("te", "Telugu"), ("tg", "Tajik"), ("th", "Thai"), ("ti", "Tigrinya"), ("tk", "Turkmen"),
    ("tl", "Tagalog"), ("tn", "Tswana"), ("to", "Tongan"), ("tr", "Turkish"), ("ts", "Tsonga"), ("tt", "Tatar"),
    ("tw", "Twi"), ("ty", "Tahitian"), ("ug", "Uyghur"), ("uk", "Ukrainian"), ("ur", "Urdu"), ("uz", "Uzbek"),
    ("ve", "Venda"), ("vi", "Vietnamese"), ("vo", "Volapük"), ("wa", "Walloon"), ("wo", "Wolof"), ("xh", "Xhosa"),
    ("yi", "Yiddish"), ("yo", "Yoruba"), ("za", "Zhuang"), ("zh", "Chinese"), ("zu", "Zulu"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_known_by_its_code_and_its_name() {
        for (code, name) in
            [("en", "English"), ("sw", "Swahili"), ("jv", "Javanese"), ("zu", "Zulu"), ("ceb", "Cebuano")]
        {
            let language: Language = code.parse().unwrap();
            assert_eq!((language.to_string().as_str(), language.name()), (code, name));
        }
    }

    #[test]
    fn a_language_is_written_in_many_ways() {
        for (text, code) in [
            ("EN", "en"),
            ("eng", "en"),
            ("swa", "sw"),
            ("ben", "bn"),
            ("ger", "de"),
            ("zh-CN", "zh"),
            ("zh_hant", "zh"),
            ("pt_BR", "pt"),
            ("es-419", "es"),
            ("swh_Latn", "sw"),
            ("arb_Arab", "ar"),
            ("iw", "he"),
            ("Swahili", "sw"),
            (" bengali ", "bn"),
            ("Chinese (Simplified)", "zh"),
            ("Filipino", "tl"),
            ("Cebuano", "ceb"),
        ] {
            let language: Language = text.parse().unwrap();
            assert_eq!(language.code(), code, "{text}");
        }
    }

    #[test]
    fn what_is_no_language_is_refused() {
        for text in ["", "e", "xx", "é", "日本", "qqq", "en-", "python", "en; rm"] {
            let error = text.parse::<Language>().unwrap_err();
            assert!(matches!(&error, DataError::UnknownLanguage(got) if got == text), "{text}");
            assert!(error.hint().unwrap().contains("`sw`"));
        }
    }

    #[test]
    fn json_form_is_the_code() {
        let language: Language = serde_json::from_str("\"Bengali\"").unwrap();
        assert_eq!(serde_json::to_string(&language).unwrap(), "\"bn\"");
        assert!(serde_json::from_str::<Language>("\"Elbonian\"").is_err());
    }

    #[test]
    fn the_tables_are_sound() {
        assert!(ISO_639_1.is_sorted_by(|a, b| a.0 < b.0));
        for (code, _) in ALIASES.iter().chain(&OTHER_NAMES) {
            assert!(Language::of_code(code).is_some(), "{code}");
        }
    }
}
