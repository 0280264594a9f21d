//! How far apart a model's languages lie, layer by layer: whether prompts lie beside those that mean the same or beside
//! those of their language, and whether languages agree on the direction in which harmful prompts lie.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use mpo_chat::{ChatError, ModelFolder, last_token_states};
use mpo_data::{Language, TokenizedRows};
use mpo_models::CausalLm;
use mpo_progress::Stage;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::prompts::Prompt;
use crate::silhouette::{Distances, centre};

/// What a prompt is, for those who only see its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptLabels {
    /// Its language.
    pub language: Language,
    /// What it asks, by a number that prompts of other languages share; none if no other asks the same.
    pub meaning: Option<usize>,
    /// Whether it is one to refuse.
    pub is_unsafe: bool,
}

/// Prompts to look at, each once.
#[derive(Debug, Clone, Default)]
pub struct PromptSet {
    ids: Vec<Vec<u32>>,
    labels: Vec<PromptLabels>,
    /// What each asks, by a number: that of its translations.
    asks: Vec<usize>,
}

impl PromptSet {
    /// The prompts of rows, and those of a file of benign ones, or of the set that comes with the program, that are in one of
    /// their languages. Prompts mean the same that stand behind one dominant prompt.
    ///
    /// # Errors
    /// If the file cannot be read, or a prompt of it is none.
    pub fn new(rows: &TokenizedRows, benign: &Path, folder: &ModelFolder) -> Result<Self, EvalError> {
        Self::of_rows(rows).with_benign(benign, folder)
    }

    /// The prompts of rows. Those without answers are taken for harmful ones.
    pub fn of_rows(rows: &TokenizedRows) -> Self {
        let mut set = Self::default();
        let mut seen = HashSet::new();
        let mut add = |language: Language, ids: &[u32], is_benign: bool, meaning: Option<usize>| {
            if seen.insert((language, ids.to_vec())) {
                let labels = PromptLabels { language, meaning, is_unsafe: !is_benign };
                set.push(ids.to_vec(), labels, meaning.unwrap_or(set.len()));
            }
        };
        match rows {
            TokenizedRows::Bilingual(rows) => {
                let mut meanings: HashMap<&[u32], usize> = HashMap::new();
                for row in rows {
                    let next = meanings.len();
                    let meaning = Some(*meanings.entry(row.dominant.prompt()).or_insert(next));
                    add(row.dominant_language, row.dominant.prompt(), row.dominant.is_benign(), meaning);
                    add(row.language, row.target.prompt(), row.target.is_benign(), meaning);
                }
            }
            TokenizedRows::Monolingual(rows) => {
                rows.iter().for_each(|row| add(row.language, row.pair.prompt(), row.pair.is_benign(), None));
            }
            TokenizedRows::Unpaired(rows) => {
                rows.iter().for_each(|row| add(row.language, &row.prompt, row.is_benign, None));
            }
            TokenizedRows::Parallel(rows) => {
                for (meaning, row) in rows.iter().enumerate() {
                    row.prompts.iter().for_each(|(language, ids)| add(*language, ids, false, Some(meaning)));
                }
            }
        }
        set
    }

    /// And the benign prompts of a file, or of the set that comes with the program, that are in one of the languages. Those that
    /// stand in the same place of each language's are taken for translations where sets are split.
    ///
    /// # Errors
    /// If the file cannot be read, or a prompt of it is none.
    pub fn with_benign(mut self, benign: &Path, folder: &ModelFolder) -> Result<Self, EvalError> {
        let languages: BTreeSet<Language> = self.labels.iter().map(|of| of.language).collect();
        let mut seen = HashSet::new();
        let first = self.asks.iter().max().map_or(0, |last| last + 1);
        let mut places: HashMap<Language, usize> = HashMap::new();
        for Prompt { language, ids, is_unsafe } in Prompt::benign(benign, folder)? {
            let place = places.entry(language).or_default();
            if languages.contains(&language) && seen.insert((language, ids.clone())) {
                self.push(ids, PromptLabels { language, meaning: None, is_unsafe }, first + *place);
            }
            *place += 1;
        }
        Ok(self)
    }

    fn push(&mut self, ids: Vec<u32>, labels: PromptLabels, asks: usize) {
        self.ids.push(ids);
        self.labels.push(labels);
        self.asks.push(asks);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// What is to be seen of `model`, for which as many prompts pass through it at a time as hold `max_tokens` tokens. Every
    /// prompt passes once, and of no layer more than the last tokens' states are kept.
    ///
    /// # Errors
    /// If `stage` is stopped.
    pub fn layers(
        &self,
        model: &CausalLm,
        dominant: Option<Language>,
        max_tokens: usize,
        stage: &dyn Stage,
    ) -> Result<Layers, ChatError> {
        let states = self.states(model, max_tokens, stage)?;
        let states = states.into_iter().map(|layer| layer.into_iter().map(f64::from).collect());
        Ok(Layers::new(&self.labels, states, dominant))
    }

    /// For every layer the states of all prompts' last tokens, one behind the other.
    pub(crate) fn states(
        &self,
        model: &CausalLm,
        max_tokens: usize,
        stage: &dyn Stage,
    ) -> Result<Vec<Vec<f32>>, ChatError> {
        let layers: Vec<usize> = (1..=model.config().prompt_layers()).collect();
        last_token_states(model, &self.ids, &layers, max_tokens, |prompts| {
            stage.advance(prompts);
            !stage.is_stopped()
        })
    }

    /// What the prompts are, in their order.
    pub(crate) fn labels(&self) -> &[PromptLabels] {
        &self.labels
    }

    /// What each asks, by a number that its translations have too.
    pub(crate) fn asks(&self) -> &[usize] {
        &self.asks
    }
}

/// How far apart languages lie, layer by layer. Layers are numbered from one; the last is taken after the final norm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    /// Of prompts that are there in several languages.
    pub silhouettes: Vec<LayerSilhouettes>,
    /// How many prompts these are of.
    pub prompts: usize,
    /// The layer at which meaning is farthest ahead of language (LASA's semantic bottleneck).
    pub bottleneck: Option<usize>,
    /// The language that the directions of others are compared with.
    pub dominant: Option<Language>,
    /// The other languages' directions of harm.
    pub directions: Vec<Direction>,
}

/// How far apart prompts lie at a layer, by the mean silhouette (Rousseeuw, 1987): 1 is far apart, 0 mingled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LayerSilhouettes {
    /// The layer.
    pub layer: usize,
    /// Those that mean the same beside others.
    pub meaning: f64,
    /// Those in one language beside others.
    pub language: f64,
}

/// The direction from a language's harmless prompts to its harmful ones: the difference of their means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// The language.
    pub language: Language,
    /// How many harmful prompts it has.
    pub harmful: usize,
    /// How many harmless ones.
    pub harmless: usize,
    /// At each layer its cosine with the dominant language's direction: 1 where they are the same.
    pub cosines: Vec<f64>,
}

/// Prompts of a kind that a direction needs at least.
const FEWEST: usize = 2;

impl Layers {
    /// Of the states of prompts with these labels: for each layer those of all prompts, one behind the other.
    pub fn new(
        labels: &[PromptLabels],
        layers: impl IntoIterator<Item = Vec<f64>>,
        dominant: Option<Language>,
    ) -> Self {
        let shared = shared(labels);
        let meanings: Vec<Option<usize>> = shared.iter().map(|&at| labels[at].meaning).collect();
        let languages: Vec<Language> = shared.iter().map(|&at| labels[at].language).collect();
        let kinds = Kinds::of(labels);
        let dominant = dominant.filter(|language| kinds.contains_key(language));
        let mut found = Self { prompts: shared.len(), dominant, ..Self::default() };
        let others = kinds.iter().filter(|(language, _)| dominant.is_some_and(|of| of != **language));
        found.directions.extend(others.map(|(&language, kinds)| Direction {
            language,
            harmful: kinds.harmful.len(),
            harmless: kinds.harmless.len(),
            cosines: vec![],
        }));
        for (number, states) in layers.into_iter().enumerate() {
            let width = states.len() / labels.len().max(1);
            let states = DMatrix::from_row_slice(labels.len(), width, &states);
            let mut own = states.select_rows(&shared);
            centre(&mut own);
            let distances = Distances::of_centred(&own);
            let both = distances.silhouette(&meanings).zip(distances.silhouette(&languages));
            found.silhouettes.extend(
                both.filter(|(meaning, language)| meaning.is_finite() && language.is_finite())
                    .map(|(meaning, language)| LayerSilhouettes { layer: number + 1, meaning, language }),
            );
            if let Some(dominant) = dominant {
                let towards = kinds[&dominant].direction(&states);
                for of in &mut found.directions {
                    of.cosines.push(cosine(&kinds[&of.language].direction(&states), &towards));
                }
            }
        }
        let ahead = |of: &&LayerSilhouettes| of.meaning - of.language;
        // Of equal ones the first.
        let best = found.silhouettes.iter().rev().max_by(|a, b| ahead(a).total_cmp(&ahead(b)));
        found.bottleneck = best.map(|of| of.layer);
        found
    }

    /// Whether nothing is to be seen: no prompt is there in two languages, and no two languages have both kinds of prompts.
    pub fn is_empty(&self) -> bool {
        self.silhouettes.is_empty() && self.directions.is_empty()
    }
}

/// The places of prompts whose meaning is there in two languages or more.
fn shared(labels: &[PromptLabels]) -> Vec<usize> {
    let mut languages: HashMap<usize, BTreeSet<Language>> = HashMap::new();
    for of in labels {
        if let Some(meaning) = of.meaning {
            languages.entry(meaning).or_default().insert(of.language);
        }
    }
    let is_shared = |at: &usize| labels[*at].meaning.is_some_and(|meaning| languages[&meaning].len() > 1);
    (0..labels.len()).filter(is_shared).collect()
}

/// The places of a language's prompts, by kind.
#[derive(Debug, Default)]
struct Kinds {
    harmful: Vec<usize>,
    harmless: Vec<usize>,
}

impl Kinds {
    /// Of every language that has enough of both.
    fn of(labels: &[PromptLabels]) -> BTreeMap<Language, Self> {
        let mut kinds: BTreeMap<Language, Self> = BTreeMap::new();
        for (at, of) in labels.iter().enumerate() {
            let kinds = kinds.entry(of.language).or_default();
            if of.is_unsafe { &mut kinds.harmful } else { &mut kinds.harmless }.push(at);
        }
        kinds.retain(|_, of| of.harmful.len() >= FEWEST && of.harmless.len() >= FEWEST);
        kinds
    }

    fn direction(&self, states: &DMatrix<f64>) -> DVector<f64> {
        let mean = |of: &[usize]| states.select_rows(of).row_mean().transpose();
        mean(&self.harmful) - mean(&self.harmless)
    }
}

/// 0 where one of them has no direction.
fn cosine(one: &DVector<f64>, other: &DVector<f64>) -> f64 {
    let cosine = one.dot(other) / (one.norm() * other.norm());
    if cosine.is_finite() { cosine } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use burn::module::Module as _;
    use burn::tensor::Device;
    use mpo_data::{LanguagePair, Origin, Position, TemplateOptions, TokenizedPair, TokenizedRow};
    use mpo_models::{At, Batch, Layer, Places};
    use mpo_progress::{Progress, Silent};

    use super::*;
    use crate::benign::BUILT_IN;

    fn language(code: &str) -> Language {
        code.parse().unwrap()
    }

    fn labels(code: &str, meaning: Option<usize>, is_unsafe: bool) -> PromptLabels {
        PromptLabels { language: language(code), meaning, is_unsafe }
    }

    #[test]
    fn meaning_and_language_by_hand() {
        let labels: Vec<PromptLabels> = [("en", 0), ("sw", 0), ("en", 1), ("sw", 1)]
            .map(|(code, meaning)| labels(code, Some(meaning), true))
            .into();
        // First layer: languages 4 apart and meanings 1; second: the other way round; third: nothing is apart.
        let layers =
            [vec![0.0, 0.0, 4.0, 0.0, 0.0, 1.0, 4.0, 1.0], vec![0.0, 0.0, 1.0, 0.0, 0.0, 4.0, 1.0, 4.0], vec![7.0; 8]];
        let found = Layers::new(&labels, layers, None);
        // Within 1; to the other (4 + √17)/2. And within 4, to the other (1 + √17)/2.
        let far = (4.0 + 17f64.sqrt()) / 2.0;
        let near = (1.0 + 17f64.sqrt()) / 2.0;
        let [apart, mingled] = [(far - 1.0) / far, (near - 4.0) / 4.0];
        let close = |layer: usize, meaning: f64, language: f64| {
            let of = found.silhouettes[layer - 1];
            assert_eq!(of.layer, layer);
            assert!((of.meaning - meaning).abs() < 1e-12 && (of.language - language).abs() < 1e-12, "{of:?}");
        };
        close(1, mingled, apart);
        close(2, apart, mingled);
        close(3, 0.0, 0.0);
        assert_eq!((found.bottleneck, found.prompts), (Some(2), 4));
        assert!(found.directions.is_empty() && found.dominant.is_none());
    }

    #[test]
    fn what_is_there_in_one_language_is_no_part_of_the_silhouettes() {
        let mut of: Vec<PromptLabels> = [("en", 0), ("sw", 0), ("en", 1), ("sw", 1)]
            .map(|(code, meaning)| labels(code, Some(meaning), true))
            .into();
        let states = vec![0.0, 0.0, 4.0, 0.0, 0.0, 1.0, 4.0, 1.0];
        let without = Layers::new(&of, [states.clone()], None);
        of.extend([labels("en", Some(2), true), labels("sw", None, true)]);
        let with = Layers::new(&of, [[states, vec![9.0, 9.0, -9.0, 9.0]].concat()], None);
        assert_eq!((with.prompts, with), (4, without));
        let alone = Layers::new(&of[4..], [vec![1.0, 2.0, 3.0, 4.0]], None);
        assert!(alone.is_empty() && alone.bottleneck.is_none());
    }

    #[test]
    fn directions_by_hand() {
        let mut of = vec![];
        for code in ["en", "sw", "bn"] {
            for is_unsafe in [true, true, false, false] {
                of.push(labels(code, None, is_unsafe));
            }
        }
        // One harmless prompt is no kind.
        of.extend([true, true, false].map(|is_unsafe| labels("ko", None, is_unsafe)));
        // Means of harmful less harmless: English (2, 0); Swahili (1, 1), at 45°; Bengali (0, −3), at a right angle.
        let english = [3.0, 1.0, 1.0, 1.0, 0.0, 2.0, 0.0, 0.0];
        let swahili = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let bengali = [5.0, 0.0, 5.0, 0.0, 5.0, 3.0, 5.0, 3.0];
        let states = [&english[..], &swahili, &bengali, &[0.0; 6]].concat();
        let same = vec![1.0; states.len()];
        let found = Layers::new(&of, [states, same], Some(language("en")));
        let codes: Vec<_> = found.directions.iter().map(|of| (of.language.code(), of.harmful, of.harmless)).collect();
        assert_eq!((codes, found.dominant), (vec![("bn", 2, 2), ("sw", 2, 2)], Some(language("en"))));
        let [bengali, swahili] = [0, 1].map(|at| &found.directions[at].cosines);
        assert!((swahili[0] - 0.5f64.sqrt()).abs() < 1e-12 && bengali[0].abs() < 1e-12, "{found:?}");
        // Where all prompts have one state there is no direction.
        assert_eq!((swahili[1], bengali[1]), (0.0, 0.0));
        // A dominant language without both kinds is nothing to compare with.
        let korean = Layers::new(&of, [vec![0.0; of.len()]], Some(language("ko")));
        assert!(korean.dominant.is_none() && korean.directions.is_empty());
    }

    fn pair(prompt: &[u32], is_benign: bool) -> TokenizedPair {
        let origin = Origin { file: "f".into(), position: Position::Row(1) };
        TokenizedPair::new(&origin, prompt.to_vec(), vec![1], vec![2]).unwrap().with_benign(is_benign)
    }

    #[test]
    fn rows_that_share_a_dominant_prompt_mean_the_same() {
        let row = |dominant: u32, code: &str, target: u32| TokenizedRow {
            dominant: pair(&[dominant], false),
            target: pair(&[target], code == "bn"),
            dominant_language: language("en"),
            language: language(code),
            origin: Origin { file: "f".into(), position: Position::Row(1) },
        };
        let rows = vec![row(1, "sw", 5), row(2, "sw", 6), row(1, "bn", 7), row(1, "sw", 5)];
        let set = PromptSet::of_rows(&TokenizedRows::Bilingual(rows));
        let expected = [("en", 0, true), ("sw", 0, true), ("en", 1, true), ("sw", 1, true), ("bn", 0, false)];
        assert_eq!(set.labels, expected.map(|(code, meaning, of)| labels(code, Some(meaning), of)));
        let row = LanguagePair {
            language: language("sw"),
            pair: pair(&[3], true),
            origin: Origin { file: "f".into(), position: Position::Row(1) },
        };
        let set = PromptSet::of_rows(&TokenizedRows::Monolingual(vec![row.clone(), row]));
        assert_eq!((set.labels, set.ids), (vec![labels("sw", None, false)], vec![vec![3]]));
    }

    #[test]
    fn every_layer_is_seen_at_the_last_token_whatever_stands_beside_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../mpo-train/miniature/model");
        let folder = ModelFolder::open(path, &TemplateOptions::default(), &Silent).unwrap();
        let model = folder.load_frozen(&Device::flex(), &Silent).unwrap();
        let rows = ["How do I bake bread?", "Habari?"].map(|text| {
            let ids = folder.encode_prompt(&[mpo_data::Message::user(text)]).unwrap();
            let origin = Origin { file: "f".into(), position: Position::Row(1) };
            LanguagePair { language: language("sw"), pair: pair(&ids, false), origin }
        });
        let set = PromptSet::new(&TokenizedRows::Monolingual(rows.into()), BUILT_IN.as_ref(), &folder).unwrap();
        // The benign ones of other languages are left out.
        assert_eq!(set.len(), 2 + 40);
        let stage = Silent.begin("", None);
        let [together, apart] = [4096, 1].map(|max_tokens| set.states(&model, max_tokens, &*stage).unwrap());
        let (depth, width) = (model.config().num_layers, model.config().hidden_size);
        assert_eq!(together.len(), depth);
        for (number, (together, apart)) in together.iter().zip(&apart).enumerate() {
            assert_eq!(together.len(), set.len() * width);
            let far = together.iter().zip(apart).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-4, "layer {number}: {far}");
        }
        // The last layer's are after the final norm, and at the last token.
        let mut batch = Batch::default();
        let prompt = batch.prompt(&set.ids[0]);
        let every = batch.want_states(Layer::Last, Places::Tokens(vec![At::Every(prompt)]));
        let early = batch.want_states(Layer::Output(0), Places::Tokens(vec![At::Every(prompt)]));
        let outputs = model.valid().forward(&batch);
        for (layer, wanted) in [(depth - 1, every), (0, early)] {
            let values = outputs.states(wanted).into_data().convert::<f32>().try_to_vec::<f32>().unwrap();
            let last = &values[values.len() - width..];
            let far = last.iter().zip(&together[layer]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-4, "layer {layer}: {far}");
        }
    }
}
