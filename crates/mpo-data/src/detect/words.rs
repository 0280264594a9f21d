//! The frequent words of languages: what tells a text of a known language from one of a language that no model knows.

use std::collections::HashMap;

use crate::language::Language;

/// How the words of a text divide over the lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// Of its words, those that are frequent in the language it was taken for.
    pub(super) own: f64,
    /// Those that are frequent in another language, the one with the most.
    pub(super) other: f64,
}

/// Looks words up in the lists.
pub(super) struct FrequentWords {
    /// The lists that a word is in, by their numbers.
    lists: HashMap<&'static str, Vec<usize>>,
}

impl FrequentWords {
    pub(super) fn new() -> Self {
        let mut lists: HashMap<&'static str, Vec<usize>> = HashMap::new();
        for (number, (_, words)) in all().enumerate() {
            for word in words.split_whitespace() {
                lists.entry(word).or_default().push(number);
            }
        }
        Self { lists }
    }

    /// How a text taken for `language` divides; none where that has no list, or the text no words.
    pub(super) fn share(&self, text: &str, language: Language) -> Option<Share> {
        let own = ANSWERS.iter().position(|(code, _)| *code == language.code())?;
        let text = text.to_lowercase().replace('’', "'");
        let mut found = vec![0; ANSWERS.len() + OTHERS.len()];
        let mut count = 0;
        for word in words(&text) {
            count += 1;
            // Of `l'eau`, each part may be frequent.
            let apostrophe = word.find('\'').map(|at| word.split_at(at + 1));
            let parts = apostrophe.into_iter().flat_map(|(head, tail)| [head, tail]);
            let known = std::iter::once(word).chain(parts);
            let mut numbers: Vec<usize> = known.filter_map(|part| self.lists.get(part)).flatten().copied().collect();
            numbers.sort_unstable();
            numbers.dedup();
            for number in numbers {
                found[number] += 1;
            }
        }
        let other = found[ANSWERS.len()..].iter().max().copied();
        let of_all = |part: u32| f64::from(part) / f64::from(count);
        (count > 0).then(|| Share { own: of_all(found[own]), other: of_all(other.unwrap_or_default()) })
    }
}

/// The words of a text: letters, with hyphens and apostrophes among them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    // Bengali writes vowels as marks, which are letters too.
    let is_part = |c: char| c.is_alphabetic() || matches!(c, '\'' | '-' | '\u{980}'..='\u{9FF}');
    let words = text.split(move |c| !is_part(c));
    let words = words.map(|word| word.trim_matches('-').trim_start_matches('\''));
    words.filter(|word| word.chars().any(char::is_alphabetic))
}

fn all() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    ANSWERS.iter().chain(&OTHERS)
}

/// Of languages that can be the answer and are written as others are.
#[rustfmt::skip]
const ANSWERS: [(&str, &str); 9] = [
    ("en", "the of and to a in is i you that it for on with as be this my do can how what not are have at by from or but \
        your me was if an will which there when who why where they we he she would should does so all write give \
        list explain like about did get no has had more than many much some out up make his her their please each \
        into us"),
    ("de", "der die das und ist ich nicht ein eine zu in den dem mit von für auf wie es im sich sie er wir was kann man \
        mir einen einer einem wenn auch als an oder aber dass mein meine bei aus nach warum wird sind hat haben \
        werden am nur war sehr noch wurde jetzt zum zur"),
    ("es", "el la los las de que y en un una es por con para no se lo mi me cómo qué del al su como más pero sus le ha \
        yo si cuál son está o puedo tiene hay sobre este esta te muy dame explica ser fue hacer cuánto todo cada \
        cuando donde desde hasta entre también porque así ya años han"),
    ("fr", "le la les de des du et un une est que je pour en dans à qui ne pas ce sur avec au il elle vous nous comment \
        quel quelle se plus son sa mon ma aux par si mais ou cette ces sont l' qu' j' c' n' d' s'"),
    ("it", "il lo la i gli le di che e un una è per in non con mi come del della dei si da al alla nel nella sono a se \
        più ma o ho cosa ha mio mia questo questa perché dal l' un' dell' all' po' quando anche ti ci cinque fa fare \
        puoi quanto tutto loro suo sua"),
    ("sw", "na ya wa kwa ni la katika za cha kama yangu wangu hii hiyo au ili je kuwa lakini hivyo huo sana bila kutoka \
        watu mtu kila pia zaidi jinsi gani nini nani vya yako yake wake hayo hizi baada kabla si hata moja yao wao \
        mimi yeye kwamba ambayo ambao kisha ndani nyumbani kuhusu nataka tafadhali hilo hicho sasa tu lini wapi hapa \
        ngapi nyuma mbele juu chini kabisa tena bado leo kesho jana hapana ndiyo asante habari wewe sisi ninyi nami \
        nawe naye"),
    ("vi", "và của là có cho không tôi một được các những người trong với để này đó làm như thế nào bạn từ khi về ra đã \
        đang sẽ hãy cách gì tại sao nếu mình thì mà ở ai sau em rất lại cần nhiều bao hỏi hay sắp bây giờ phải"),
    ("ru", "и в не на я что с как по а это к но у из за от о так для же вы он мы она они мне все его её их или если \
        чтобы бы ли да до мой моя меня можно есть быть только когда где почему какой без ты нет надо ещё"),
    ("bn", "আমি এবং না কি করে এই আমার তুমি আপনি আপনার জন্য থেকে একটি হয় কীভাবে যে ও কিন্তু কিভাবে এটি তার সে তারা কোন \
        কত করতে"),
];

/// Of languages that no answer may be, by their codes; `hi-Latn` is Hindi in Latin letters.
#[rustfmt::skip]
const OTHERS: [(&str, &str); 66] = [
    ("jv", "aku kula sampeyan kowe iku ing lan sing kang karo ora kanggo piye kepiye opo apa iki saka menyang arep seng \
        nang nggo mergo amarga banjur menika punika mboten carane gawe bisa wong marang wis isih nek yen kudu lagi \
        supaya ono ana luwih saged saking kaliyan duwe dadi neng koe gak ae wae pengin sak"),
    ("su", "abdi anjeun nu jeung di teu ka ti kumaha naon éta ieu pikeun geus bisa kuring hapunten sareng oge upami \
        tiasa kana"),
    ("rw", "ni mu ku cyangwa kandi na nta gute iyo uyu iki ibyo kuko ariko muri cyane nk' n' kugira ngo mbere buri ubu \
        uko ese nigute kuki w' wanjye yanjye byanjye inzu ntafite mbabarira icyo ndashaka hanyuma umuntu yo wo ry' cy' by' umwe imwe"),
    ("sn", "kuti uye asi pa mu ne nekuti sei ndiri iri izvi icho ichocho here kana kubva ndinoda sanganisa zvakanaka \
        kwete chete mumwe wa imwe munhu ndisina inoda vanhu ini iwe"),
    ("lg", "nga mu ku okwo kubanga era oba nti ntya ne nnyo omuntu ebyo bwe ekyo eky' ez' nnyumba sirina nsonyiwa \
        nsobola lwaki"),
    ("ny", "ndi ku mu pa kuti koma chifukwa bwanji ngati kapena ine inu popanda pempho ndingathe chonde anthu munthu \
        pepani kwambiri"),
    ("zu", "ukuthi futhi kodwa noma ngoba njengoba kanjani ngaphandle yini kusho uma kakhulu ngesi abantu umuntu kuba \
        njani"),
    ("ln", "na ya te nini ndenge mpe kasi soki oyo wana nakoki ngai yo bato po nde epai"),
    ("ha", "da ba a na ya ta cewa ko amma don saboda yadda ne ce wani wannan kuma sun zan iya yaya ina mai hakuri cikin \
        daga su"),
    ("yo", "ni ti ṣe mo wọn kan bi awọn si lati báwo"),
    ("ig", "na ka ga ike nke ma ọ bụ m gị ahụ ya n' dị maka kedu ndo"),
    ("mg", "ny sy dia amin' fa tsy ho ao an izy izany amin aho ahoana misy manao raha miala"),
    ("ht", "mwen ou pa nan ki ak pou yon se li kijan ka gen sa a yo tankou regrèt"),
    ("ceb", "ang sa nga og ko mga kay ug unsaon ikaw dili ni akong wala kini imong mao walay"),
    ("haw", "i ke ka ma me au e o ua he"),
    ("id", "yang di dan untuk saya tidak dengan ini itu dari bagaimana cara apa tanpa rumah anda akan bisa boleh maaf \
        bagaimanakah pada dalam atau ke"),
    ("et", "ma on ei ja et see kuidas mis ning ilma kui sa mind sest aga võib palun siis saan mu või oma ta olen kas"),
    ("fi", "ja on ei että miten se en voi kun mutta olen tämä mitä ovat sen jos oli minä mikä ole niin joka tai hän myös \
        sekä"),
    ("eo", "la mi kaj de estas en ne kiel al por ke vi sen ĝi tiu pri sed oni kiu povas mia ili ĉu via povus bedaŭras"),
    ("hi-Latn", "main mein hai ke ki ka ko se aap nahi nahin kya kaise hoon hu raha rahi liye aur kar karo mujhe mere meri \
        bhi tha do phir bina sakta sakti ek ho yeh par tum hum batao apne apni kuch toh aapki"),
    ("ar-Latn", "fi min ala ana la ila kayfa ma al inta fel el mesh wala ya bidun hatha men leh izzay ezay asif kaif 3ala hal"),
    ("bn-Latn", "ami amar ki kore na ei kibabe kivabe tumi apni ache theke ar jonno te korte parbo ekta apnake amake eta hobe \
        keno kintu bari"),
    ("zh-Latn", "wo ni de shi bu zai zenme shenme le ma women yi ge he you mei zhege neng"),
    ("ja-Latn", "wo wa ga no ni desu ka de suru shite watashi kudasai masu nai kara to"),
    ("ca", "com què és i amb els les seva seus dels pel pels ets res tot tots també fins cada nom aquests molt ara més \
        ser hem han em va són entre per no puc aquesta aquest un una al del que et ho però perquè sense a la meu seu \
        jo l' d' s' ha hi si quan fer el de en es se ens us nostre molts altres on així doncs tant mateix dos tres \
        any anys part fa fan ja"),
    ("gl", "como o a os as do da dos das non unha un que e é na no pero por co coa sen podo esa para meu máis ao ou se \
        teño sobre che son eu este esta de en foi moi xa hai porque cando onde entre tamén así alguén nin outro \
        outra moito"),
    ("ast", "como nun ensin con pa la el que y dalguién facer puedo ye esti esta una del na de en los les se al lo por \
        para un so tá más sos porque cuando dende tamién"),
    ("oc", "de e que lo la los las per amb pas sens mas far cossí dels al l' a un una es vos ai"),
    ("pt", "o a os as de do da que e não um uma em para com como no na por se eu mas sem é esse meu dos das ao mais"),
    ("co", "u a di i in per chì ch' è cù da cumu ùn un una nò senza possu"),
    ("scn", "lu la li di a chi e cu nun pi un comu pozzu na senza ca"),
    ("la", "et in est non ut quod cum ad sed sine possum quomodo te hac me quid ex ab"),
    ("lb", "ech dat net an de d' den dem mat fir vun ass op eng en e wéi mee iech kann ouni iwwer dir mir a wat hunn"),
    ("nds", "ik dat un de en nich is to dor mit för wo kann man ok di op vun een ahn"),
    ("gsw", "ich isch und nöd d' s' de mit chan es cha bi mer ohni vo uf e wie dass für ned au"),
    ("nl", "de het een en van ik is dat niet in op te met voor hoe zijn aan maar kan je zonder mijn wat naar om er"),
    ("af", "die en van ek is nie in om te dit vir met hoe kan jou 'n sonder maar wat my"),
    ("fy", "de it en fan ik is net dat yn te mei mar kin hoe jo my dy in sûnder"),
    ("no", "og i det på er ikke jeg en å som for med til hvordan kan av den uten men deg har meg om et"),
    ("is", "og að ég í ekki er en það hvernig get án á sem við þú fyrir"),
    ("fo", "og at eg í ikki er ein tað hvussu kann uttan á"),
    ("ga", "an na agus ar is tá ní go i le a mé tú conas cén leis sin ach féidir liom"),
    ("cy", "y yr yn a i o ar mae ni sut ond gyda heb am eich hwnnw fy ei ddim"),
    ("mt", "il li u ta' ma fil kif ħija biex mingħajr dik għal imma"),
    ("sq", "në dhe e të një për me si nuk që është mund më nga pa"),
    ("hr", "i u je na se da ne za sa kako bez od to su što kod ali mi s mogu kuće jedan koji ili"),
    ("sl", "in je v na se da ne za kako brez od to so kaj doma ali s z lahko"),
    ("cs", "a v je na se že ne s za jak bez do to jsem co o ale pro tak mi po si nebo jsou"),
    ("sk", "a v je na sa že ne s za ako bez do to som čo o ale pre doma"),
    ("pl", "i w nie na się że z do jak to jest bez co o ale dla mogę przez"),
    ("lt", "ir į kad ne su kaip iš be tai aš yra bet apie šiuo"),
    ("lv", "un uz ir ar kā bez no es bet ka mājās jums šo"),
    ("hu", "a az és hogy nem egy is van meg de ha ezt azt nélkül hogyan otthon ebben"),
    ("ro", "și de în la cu nu pe un o să este cum dar fără din te pentru care ce sunt"),
    ("eu", "eta da ez bat nola egin dut dezaket gabe ere baina zer du dira zure nire ezin dizut hau horretan"),
    ("ku", "û li ji bi di ku ez min ne çawa bê da dikarim vê te ev"),
    ("tr", "ve bir bu da de için ne nasıl ben olarak ile mi size"),
    ("qu", "mana kani manam ima imaynataq"),
    ("tpi", "long mi i no em bilong na ken yu olsem dispela wanem"),
    ("pcm", "i no dey wey na go dem fit una make abeg for dat don wetin"),
    ("bg", "да се на не за от и е че във със ще това тази тези този които който като има след при беше са бе му си до \
        между още може с по как ми без в но или бъде"),
    ("mk", "да се на не за од го ја ги му ќе има кои може или до при и е дека со по како ми си без во оваа тоа но дома"),
    ("sr", "да се на не за од и је у са како код али су то ми без што о тим"),
    ("be", "што гэта як але магу гэтай каб ён яна мне калі"),
    ("mn", "би энэ юм нь байна вэ ба юу хэрхэн гэж"),
    ("as", "মই আপোনাক এই আৰু যে হয় কৰিব বিষয়ে খাম এটা"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_words_are_counted_once() {
        let words = FrequentWords::new();
        let share = |text: &str, code: &str| {
            let share = words.share(text, code.parse().unwrap()).unwrap();
            [share.own, share.other].map(|share| (share * 100.0).round())
        };
        assert_eq!(share("L’eau de l'étang, d'Anne", "fr")[0], 100.0);
        assert_eq!(share("The cat sat - on it.", "en")[0], 60.0);
        assert_eq!(share("মই ভাত খাম।", "bn"), [0.0, 67.0]);
        assert!(words.share("42", "en".parse().unwrap()).is_none());
        assert!(words.share("Kia ora", "ko".parse().unwrap()).is_none());
    }

    #[test]
    fn lists_name_each_word_and_language_once() {
        let mut codes = Vec::new();
        for (code, list) in all() {
            codes.push(code);
            let mut words: Vec<&str> = list.split_whitespace().collect();
            let count = words.len();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), count, "{code}");
        }
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }
}
