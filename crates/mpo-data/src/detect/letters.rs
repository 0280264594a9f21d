//! What the letters of a text say against the language that it was taken for.

use crate::language::Language;

/// The scripts that the answers are written in. Han and kana are one, for Japanese mixes them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Cyrillic,
    Arabic,
    Bengali,
    Telugu,
    Thai,
    Hangul,
    Han,
}

impl Script {
    fn of(letter: char) -> Option<Self> {
        match letter {
            'A'..='Z' | 'a'..='z' | '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' => Some(Self::Latin),
            '\u{400}'..='\u{52F}' => Some(Self::Cyrillic),
            '\u{600}'..='\u{77F}' | '\u{8A0}'..='\u{8FF}' | '\u{FB50}'..='\u{FDFF}' => Some(Self::Arabic),
            '\u{980}'..='\u{9FF}' => Some(Self::Bengali),
            '\u{C00}'..='\u{C7F}' => Some(Self::Telugu),
            '\u{E00}'..='\u{E7F}' => Some(Self::Thai),
            '\u{1100}'..='\u{11FF}' | '\u{3130}'..='\u{318F}' | '\u{AC00}'..='\u{D7A3}' => Some(Self::Hangul),
            '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{3005}' | '\u{3006}' => Some(Self::Han),
            '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}' => Some(Self::Han),
            _ => None,
        }
    }

    fn of_language(language: Language) -> Self {
        match language.code() {
            "ru" => Self::Cyrillic,
            "ar" => Self::Arabic,
            "bn" => Self::Bengali,
            "te" => Self::Telugu,
            "th" => Self::Thai,
            "ko" => Self::Hangul,
            "zh" | "ja" => Self::Han,
            _ => Self::Latin,
        }
    }

    /// Whether a text in this script may have letters of the other among its own, as names and terms.
    fn bears(self, other: Self) -> bool {
        match other {
            Self::Latin => true,
            Self::Han => self == Self::Hangul,
            _ => false,
        }
    }
}

/// Whether a text has letters that the language is not written with, or lacks those that it cannot do without.
pub(super) fn contradict(text: &str, language: Language) -> bool {
    let letters: Vec<char> = text.chars().flat_map(char::to_lowercase).filter(|c| c.is_alphabetic()).collect();
    is_mixed(text, &letters, language)
        || is_foreign(&letters, language)
        || match language.code() {
            "ru" => lacks_russian(&letters),
            "zh" => may_be_japanese(&letters),
            _ => false,
        }
}

/// Whether hardly a letter of a text is one that the language is written with: then it is in another language, known or not.
/// A text without letters is in none.
pub(super) fn is_in_other_letters(text: &str, language: Language) -> bool {
    let own = Some(Script::of_language(language));
    let (mut all, mut of_own) = (0_usize, 0);
    for letter in text.chars().filter(|character| character.is_alphabetic()) {
        all += 1;
        of_own += usize::from(Script::of(letter) == own);
    }
    all > 0 && 10 * of_own < all
}

/// Whether languages change within the text, by its scripts. One word in another is a quotation.
fn is_mixed(text: &str, letters: &[char], language: Language) -> bool {
    let own = Script::of_language(language);
    let is_alien = |letter: char| Script::of(letter).is_some_and(|script| script != own && !own.bears(script));
    let count = letters.iter().filter(|letter| is_alien(**letter)).count();
    let words = text.split(|c: char| !c.is_alphabetic());
    let words = words.filter(|word| word.chars().any(is_alien)).count();
    // A share of 1 in 25, or 1 in 10 where letters are syllables or words and so weigh more.
    let least = if own == Script::Latin { 25 } else { 10 };
    3 * count >= letters.len().max(1) || (words >= 2 && least * count >= letters.len())
}

/// The letters of a language within its script, beside a to z.
struct Alphabet {
    code: &'static str,
    letters: &'static str,
    /// A text has foreign letters if it has at least this many others, and one in `one_of` is such: names are foreign, too.
    least: usize,
    one_of: usize,
}

#[rustfmt::skip]
const ALPHABETS: [Alphabet; 9] = [
    Alphabet { code: "ar", letters: "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيٱـیکھ\u{64B}\u{64C}\u{64D}\u{64E}\u{64F}\u{650}\u{651}\u{652}\u{670}", least: 1, one_of: 25 },
    Alphabet { code: "bn", letters: "অআইঈউঊঋএঐওঔকখগঘঙচছজঝঞটঠডঢণতথদধনপফবভমযরলশষসহড়ঢ়য়ৎংঃঁ়্ািীুূৃেৈোৌৗঽ\u{9DC}\u{9DD}\u{9DF}", least: 1, one_of: 50 },
    Alphabet { code: "de", letters: "äöüß", least: 2, one_of: 25 },
    Alphabet { code: "en", letters: "éèïöç", least: 2, one_of: 25 },
    Alphabet { code: "es", letters: "áéíñóúü", least: 2, one_of: 80 },
    Alphabet { code: "fr", letters: "àâæçéèêëîïôœùûüÿ", least: 2, one_of: 25 },
    Alphabet { code: "it", letters: "àèéìíîòóùú", least: 2, one_of: 25 },
    Alphabet { code: "ru", letters: "абвгдежзийклмнопрстуфхцчшщъыьэюяё", least: 1, one_of: 50 },
    Alphabet { code: "sw", letters: "", least: 2, one_of: 25 },
];

/// Whether a text has letters of its script that the language is not written with: more than a foreign name or two.
fn is_foreign(letters: &[char], language: Language) -> bool {
    let alphabet = ALPHABETS.iter().find(|alphabet| alphabet.code == language.code());
    let Some(alphabet) = alphabet else {
        return false;
    };
    let script = Some(Script::of_language(language));
    let is_foreign =
        |letter: &&char| !letter.is_ascii() && Script::of(**letter) == script && !alphabet.letters.contains(**letter);
    let foreign = letters.iter().filter(is_foreign).count();
    foreign >= alphabet.least && alphabet.one_of * foreign >= letters.len()
}

/// Whether Cyrillic letters are those of Bulgarian, Macedonian or Serbian: `ъ` where Russian has none, or none of the letters
/// that are one in 25 of Russian.
fn lacks_russian(letters: &[char]) -> bool {
    const ENOUGH: usize = 100;
    let is_vowel = |pair: &[char]| pair[0] == 'ъ' && !"еёюя".contains(pair[1]);
    letters.windows(2).any(is_vowel) || (letters.len() >= ENOUGH && !letters.iter().any(|letter| is_russian(*letter)))
}

/// Whether a text has nothing of Russian that its southern neighbours do not have, and more letters than a word or two.
pub(super) fn may_be_southern(text: &str) -> bool {
    const A_FEW: usize = 25;
    let letters = text.chars().filter(|letter| letter.is_alphabetic());
    letters.count() >= A_FEW && !text.chars().flat_map(char::to_lowercase).any(is_russian)
}

fn is_russian(letter: char) -> bool {
    "ыэёь".contains(letter)
}

/// Characters that are frequent in Chinese and are not written in Japanese, or not without kana beside them.
const CHINESE: &str = "我你您她它们們这這吗嗎呢吧啊呀嘛哪啥咋为么麼说說请让讓给对對没沒过还從从问题谁怎个两样樣时间关开动进發发經经现长\
    门书车东语话认识记讨词诗读课谈译试该详误变业专习买卖賣产仅优传伤价师带帮应张劳单历压听启员响园图坏块处备复头夸妈\
    宁实审宽寻导层岁岛币广庆库归录忆怀态总惊愿执扩护报拥择换损摆无显术机杀权构标树桥梦检欢毁济浓润涨渐灭灵灾炼热爱环\
    电疗疯很也吃砍掉证设费别马鸟鱼钱银铁飞饭饮饼馆鸡儿几气亲终决于如某积圆";

/// Whether a text taken for Chinese is short and has no kana, and nothing that Japanese would write otherwise.
fn may_be_japanese(letters: &[char]) -> bool {
    const SHORT: usize = 20;
    letters.len() <= SHORT && !letters.iter().any(|letter| CHINESE.contains(*letter))
}
