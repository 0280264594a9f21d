//! A batch laid out for an encoder and a decoder: prompts go into the one, each whole, and answers into the other.
//!
//! An encoder's tokens see all of their prompt, so a prompt that opens as another does is there again. A decoder's sequence
//! begins with a token of its own, from which an answer's first token is predicted.

use std::ops::Range;

use mpo_kernels::{PackedLayout, Segment};

use super::{At, Batch, Kind, Part, Places, Targets};

/// Where a token goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Encoder,
    Decoder,
}

/// The rows of a batch.
#[derive(Debug)]
pub(crate) struct Divided {
    pub(crate) encoder: Rows,
    pub(crate) decoder: Rows,
    /// Which of the encoder's rows each of the decoder's sees.
    pub(crate) across: PackedLayout,
    places: Vec<Option<Place>>,
    /// The decoder's row that predicts what comes after a prompt, of prompts that it is asked of.
    nexts: Vec<(Part, usize)>,
}

/// The rows of one side.
#[derive(Debug)]
pub(crate) struct Rows {
    /// One id for each row.
    pub(crate) ids: Vec<u32>,
    /// Which rows of the same side each row sees.
    pub(crate) layout: PackedLayout,
}

/// Where a part is.
#[derive(Debug, Clone)]
struct Place {
    side: Side,
    /// All that it sees of its sequence, with itself at the end: its prompt whole, or what the decoder has of it.
    sequence: Vec<Range<usize>>,
    rows: Range<usize>,
    /// The row that predicts its first token, in the decoder.
    before: Option<usize>,
}

/// Rows of one side while they are laid out.
#[derive(Default)]
struct Laying {
    ids: Vec<u32>,
    segments: Vec<Segment>,
}

impl Laying {
    /// Adds rows that see `context`, and each other if they are to.
    fn push(
        &mut self,
        ids: impl IntoIterator<Item = u32>,
        context: &[Range<usize>],
        attends_itself: bool,
    ) -> Range<usize> {
        let first = self.ids.len();
        self.ids.extend(ids);
        let rows = first..self.ids.len();
        let context = context.iter().filter(|rows| !rows.is_empty()).cloned().collect();
        if !rows.is_empty() {
            self.segments.push(Segment { rows: rows.clone(), context, attends_itself });
        }
        rows
    }

    /// Adds a sequence of nothing in particular, so that there are at least `fewest` rows if there are any; returns how many.
    fn fill(&mut self, fewest: usize) -> usize {
        let missing = if self.ids.is_empty() { 0 } else { fewest.saturating_sub(self.ids.len()) };
        self.push(vec![0; missing], &[], true).len()
    }
}

impl Divided {
    /// The rows of a batch whose decoder begins with `start`, at least `fewest` of either side that has any.
    pub(crate) fn new(batch: &Batch, start: u32, fewest: usize) -> Self {
        let (mut encoder, mut decoder) = (Laying::default(), Laying::default());
        let (mut places, mut runs) = (vec![], vec![]);
        for number in 0..batch.parts.len() {
            let place = match batch.parts[number].kind {
                Kind::Prompt if !is_encoded(batch, Part(number)) => None,
                Kind::Prompt => Some(prompt(batch, Part(number), &mut encoder)),
                Kind::Answer | Kind::Padding => {
                    Some(following(batch, Part(number), start, &places, [&mut encoder, &mut decoder], &mut runs))
                }
            };
            places.push(place);
        }
        let mut nexts: Vec<(Part, usize)> = vec![];
        for part in batch.tokens_wanted().filter_map(|at| if let At::Next(part) = at { Some(part) } else { None }) {
            if nexts.iter().all(|(known, _)| *known != part) {
                let rows = decoder.push([start], &[], true);
                runs.push((1, encoded(&places, part)));
                nexts.push((part, rows.start));
            }
        }
        encoder.fill(fewest);
        let filled = decoder.fill(fewest);
        if filled > 0 {
            // It sees nothing of any prompt.
            runs.push((filled, 0..0));
        }
        Self {
            across: PackedLayout::across(encoder.ids.len(), runs),
            encoder: Rows { ids: encoder.ids, layout: PackedLayout::both_ways(encoder.segments) },
            decoder: Rows { ids: decoder.ids, layout: PackedLayout::new(decoder.segments) },
            places,
            nexts,
        }
    }

    pub(crate) fn side(&self, side: Side) -> &Rows {
        match side {
            Side::Encoder => &self.encoder,
            Side::Decoder => &self.decoder,
        }
    }

    fn place(&self, part: Part) -> &Place {
        self.places[part.0].as_ref().expect("what is wanted of a part has it passed through the model")
    }

    /// The rows of some tokens, and of which side they are.
    ///
    /// # Panics
    /// If tokens of a prompt are to be predicted, which nothing here does.
    fn rows(&self, at: At) -> (Side, Vec<usize>) {
        match at {
            At::Last(part) => {
                let place = self.place(part);
                (place.side, vec![place.rows.end - 1])
            }
            At::Every(part) => (self.place(part).side, self.place(part).rows.clone().collect()),
            At::Next(part) => {
                let of = self.nexts.iter().find(|(known, _)| *known == part);
                (Side::Decoder, vec![of.expect("a row is made for each that is wanted").1])
            }
            At::Predicting(part) => {
                let Place { rows, before, .. } = self.place(part);
                let before = before.expect("an answer is predicted, and no prompt");
                (Side::Decoder, std::iter::once(before).chain(rows.clone()).collect())
            }
        }
    }

    /// The same, of answers as many as they have tokens.
    fn rows_of(&self, batch: &Batch, at: At) -> (Side, Vec<usize>) {
        let (side, mut rows) = self.rows(at);
        if let At::Predicting(part) = at {
            rows.truncate(batch.ids(part).len());
        }
        (side, rows)
    }

    /// The sides that these places are in, and their rows where those of the encoder stand before those of the decoder, if both are
    /// needed.
    pub(crate) fn groups(&self, batch: &Batch, places: &Places) -> (Vec<Side>, Vec<Vec<usize>>) {
        let groups: Vec<Vec<(Side, Vec<usize>)>> = match places {
            Places::Tokens(all) => all.iter().map(|&at| vec![self.rows_of(batch, at)]).collect(),
            Places::Means(groups) => {
                let every = |part: &Part| self.rows_of(batch, At::Every(*part));
                groups.iter().map(|group| group.iter().map(every).collect()).collect()
            }
        };
        let is_in = |side: &Side| groups.iter().flatten().any(|(of, _)| of == side);
        let sides: Vec<Side> = [Side::Encoder, Side::Decoder].into_iter().filter(is_in).collect();
        let first_of_decoder = if sides.len() == 2 { self.encoder.ids.len() } else { 0 };
        let in_all = |(side, rows): &(Side, Vec<usize>)| -> Vec<usize> {
            let first = if *side == Side::Decoder { first_of_decoder } else { 0 };
            rows.iter().map(|row| first + row).collect()
        };
        let groups = groups.iter().map(|group| group.iter().flat_map(in_all).collect()).collect();
        (sides, groups)
    }

    /// What the answers of the batch are scored by.
    pub(crate) fn targets(&self, batch: &Batch) -> Targets {
        let mut targets = Targets::default();
        for &answer in &batch.scored {
            targets.rows.extend(self.rows_of(batch, At::Predicting(answer)).1);
            targets.ids.extend_from_slice(batch.ids(answer));
            targets.lengths.push(batch.ids(answer).len());
        }
        targets
    }
}

/// Whether a prompt passes through the encoder by itself, and not only as the opening of others.
fn is_encoded(batch: &Batch, prompt: Part) -> bool {
    let follows = |tokens: &super::Tokens| tokens.kind != Kind::Prompt && tokens.after == Some(prompt);
    batch.parts.iter().any(follows) || batch.is_wanted(prompt)
}

fn prompt(batch: &Batch, part: Part, encoder: &mut Laying) -> Place {
    let before = batch.before(part);
    let opening = before.iter().flat_map(|part| batch.ids(*part));
    let whole = encoder.push(opening.chain(batch.ids(part)).copied(), &[], true);
    let rows = whole.end - batch.ids(part).len()..whole.end;
    Place { side: Side::Encoder, sequence: vec![whole], rows, before: None }
}

/// The encoder's rows of the prompt that a part follows, or is.
fn encoded(places: &[Option<Place>], part: Part) -> Range<usize> {
    let place = places[part.0].as_ref().filter(|place| place.side == Side::Encoder);
    place.expect("a prompt that something follows is encoded").sequence[0].clone()
}

/// An answer, or padding after one or after a prompt.
fn following(
    batch: &Batch,
    part: Part,
    start: u32,
    places: &[Option<Place>],
    [encoder, decoder]: [&mut Laying; 2],
    runs: &mut Vec<(usize, Range<usize>)>,
) -> Place {
    let super::Tokens { ids, after, kind } = &batch.parts[part.0];
    let after = after.expect("an answer follows a prompt");
    let place = places[after.0].as_ref().expect("what something follows passes through the model");
    let sees_itself = *kind != Kind::Padding;
    if place.side == Side::Encoder && !sees_itself {
        let rows = encoder.push(ids.iter().copied(), &place.sequence, false);
        return Place { side: Side::Encoder, sequence: vec![], rows, before: None };
    }
    let prompt = batch.before(part).into_iter().rfind(|part| batch.parts[part.0].kind == Kind::Prompt);
    let prompt = encoded(places, prompt.expect("an answer follows a prompt"));
    // The last token predicts nothing that is asked for.
    let whole = batch.is_wanted(part) || batch.parts.iter().any(|tokens| tokens.after == Some(part));
    let ids = if whole || !sees_itself { &ids[..] } else { &ids[..ids.len().saturating_sub(1)] };
    let (sequence, first) = match place.side {
        Side::Encoder => (vec![], Some(start)),
        Side::Decoder => (place.sequence.clone(), None),
    };
    let rows = decoder.push(first.into_iter().chain(ids.iter().copied()), &sequence, sees_itself);
    if !rows.is_empty() {
        runs.push((rows.len(), prompt));
    }
    let before = match first {
        Some(_) => rows.start,
        None => sequence.last().map_or(rows.start, |rows| rows.end - 1),
    };
    let own = rows.end - ids.len()..rows.end;
    let sequence = sequence.into_iter().chain([rows]).collect();
    Place { side: Side::Decoder, sequence, rows: own, before: sees_itself.then_some(before) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Layer;

    const START: u32 = 9;

    #[test]
    fn prompts_are_encoded_once_and_answers_begin_with_the_start() {
        let mut batch = Batch::default();
        let prompt = batch.prompt(&[1, 2]);
        let chosen = batch.answer(prompt, &[3, 4, 5]);
        let rejected = batch.answer(prompt, &[6]);
        let other = batch.prompt(&[7, 8, 9]);
        let last = batch.answer(other, &[4, 4]);
        batch.want_scores([chosen, rejected, last]);
        let divided = Divided::new(&batch, START, 0);
        assert_eq!(divided.encoder.ids, [1, 2, 7, 8, 9]);
        assert_eq!(divided.encoder.layout.positions(), [0, 1, 0, 1, 2]);
        // Each answer but its last token, which predicts nothing.
        assert_eq!(divided.decoder.ids, [START, 3, 4, START, START, 4]);
        assert_eq!(divided.decoder.layout.positions(), [0, 1, 2, 0, 0, 1]);
        let seen: Vec<_> = divided.across.segments().iter().map(|segment| segment.context[0].clone()).collect();
        assert_eq!(seen, [0..2, 0..2, 2..5]);
        let targets = divided.targets(&batch);
        assert_eq!(targets.rows, [0, 1, 2, 3, 4, 5]);
        assert_eq!((targets.ids, targets.lengths), (vec![3, 4, 5, 6, 4, 4], vec![3, 1, 2]));
    }

    #[test]
    fn states_are_of_the_side_that_a_part_goes_into() {
        let mut batch = Batch::default();
        let prompt = batch.prompt(&[1, 2]);
        let answer = batch.answer(prompt, &[3, 4]);
        let padding = batch.padding(prompt, 0, 2);
        let after = batch.padding(answer, 0, 1);
        let wanted = [At::Last(prompt), At::Last(answer), At::Every(answer), At::Predicting(answer), At::Next(prompt)];
        for at in wanted {
            batch.want_states(Layer::Last, Places::Tokens(vec![at]));
        }
        batch.want_states(Layer::Last, Places::Means(vec![vec![prompt, padding], vec![answer, after]]));
        let divided = Divided::new(&batch, START, 0);
        assert_eq!(divided.encoder.ids, [1, 2, 0, 0]);
        assert_eq!(divided.encoder.layout.positions(), [0, 1, 2, 3]);
        // What is wanted at an answer's last token has it passed through too.
        assert_eq!(divided.decoder.ids, [START, 3, 4, 0, START]);
        assert_eq!(divided.decoder.layout.positions(), [0, 1, 2, 3, 0]);
        let of = |at| divided.groups(&batch, &Places::Tokens(vec![at]));
        let (encoder, decoder) = (vec![Side::Encoder], vec![Side::Decoder]);
        assert_eq!(of(wanted[0]), (encoder, vec![vec![1]]));
        assert_eq!(of(wanted[1]), (decoder.clone(), vec![vec![2]]));
        assert_eq!(of(wanted[2]), (decoder.clone(), vec![vec![1, 2]]));
        assert_eq!(of(wanted[3]), (decoder.clone(), vec![vec![0, 1]]));
        assert_eq!(of(wanted[4]), (decoder, vec![vec![4]]));
        // Of both sides, rows of the decoder stand behind the encoder's four.
        let means = Places::Means(vec![vec![prompt, padding], vec![answer, after]]);
        let both = vec![Side::Encoder, Side::Decoder];
        assert_eq!(divided.groups(&batch, &means), (both, vec![vec![0, 1, 2, 3], vec![5, 6, 7]]));
    }

    #[test]
    fn openings_are_there_with_each_prompt_and_an_answer_can_go_on() {
        let mut batch = Batch::default();
        let opening = batch.prompt(&[1, 2]);
        let [one, other] = [3, 4].map(|id| batch.prompt_from(opening, &[id]));
        let answer = batch.answer(one, &[5]);
        let more = batch.answer(answer, &[6, 7]);
        batch.want_scores([more]);
        batch.want_states(Layer::Last, Places::Tokens(vec![At::Last(other)]));
        let divided = Divided::new(&batch, START, 0);
        assert_eq!(divided.encoder.ids, [1, 2, 3, 1, 2, 4]);
        assert_eq!(divided.decoder.ids, [START, 5, 6]);
        assert_eq!(divided.decoder.layout.positions(), [0, 1, 2]);
        assert_eq!(divided.targets(&batch).rows, [1, 2]);
    }

    #[test]
    fn a_small_batch_is_filled_up_on_both_sides() {
        let mut batch = Batch::default();
        let prompt = batch.prompt(&[1, 2]);
        let answer = batch.answer(prompt, &[3]);
        batch.want_scores([answer]);
        let divided = Divided::new(&batch, START, 4);
        assert_eq!((divided.encoder.ids, divided.decoder.ids), (vec![1, 2, 0, 0], vec![START, 0, 0, 0]));
        assert_eq!(divided.across.segments()[1].context, [0..0]);
        let mut batch = Batch::default();
        let prompt = batch.prompt(&[1, 2]);
        batch.want_states(Layer::Last, Places::Tokens(vec![At::Last(prompt)]));
        let divided = Divided::new(&batch, START, 4);
        assert_eq!((divided.encoder.ids.len(), divided.decoder.ids.len()), (4, 0));
    }
}
