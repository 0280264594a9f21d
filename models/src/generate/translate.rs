//! Texts translated by beam search, a few at once; where one is done the next takes its place.
//!
//! The encoder reads a text once for all its beams. What a beam has of the decoder's keys and values is never moved: each of a
//! text's beams writes into a lane of its own, and where a beam goes on from another's past it keeps seeing the rows there.

use std::ops::Range;

use mpo_kernels::{PackedLayout, Segment};

use super::Answer;
use super::beam::{Candidate, Rules, Search};
use super::token::{MAX_LOGITS, floats};
use crate::decoder::{Going, KeyValueCache, Translator, select_rows};
use crate::sampling::SamplingError;

/// How to translate.
#[derive(Debug, Clone, PartialEq)]
pub struct TranslateOptions {
    /// Beams of a text; with one, the most probable token is taken each time.
    pub beams: usize,
    /// The power of its length that a translation's log-probability is divided by where translations are compared; 1 is
    /// Transformers' usual one.
    pub length_penalty: f64,
    /// The token that each translation begins with, which says its language; it is not part of it.
    pub first: Option<u32>,
    /// Tokens of a translation at most, the first among them.
    pub max_new_tokens: usize,
    /// Texts at once.
    pub batch_size: usize,
}

/// A text that is being translated.
struct Active {
    number: usize,
    /// Its place among those that are worked on at once.
    place: usize,
    search: Search,
    /// Of each beam that runs.
    paths: Vec<Path>,
}

/// What a beam has of the decoder's cache.
#[derive(Debug, Clone, PartialEq)]
struct Path {
    /// Where it writes.
    lane: usize,
    /// Rows of its tokens so far, in their order.
    rows: Vec<Range<usize>>,
}

/// Translates texts, each as its token ids from the language's token to the end. `on_answer` is told each translation when it is
/// there, and says whether to go on.
///
/// # Errors
/// If logits are NaN or infinite, so that there is no token to choose.
///
/// # Panics
/// If a text has no token, or one outside the vocabulary: checked where ids are made.
pub fn translate(
    model: &Translator,
    texts: &[Vec<u32>],
    options: &TranslateOptions,
    mut on_answer: impl FnMut(usize, &Answer) -> bool,
) -> Result<Vec<Answer>, SamplingError> {
    let mut answers = vec![Answer::default(); texts.len()];
    let opening: Vec<u32> = [model.config().start_token_id].into_iter().chain(options.first).collect();
    // Every token but the last passes through the decoder, and the start.
    let lane = options.max_new_tokens;
    if lane < opening.len() || texts.is_empty() {
        return Ok(answers);
    }
    let (beams, places) = (options.beams.max(1), options.batch_size.clamp(1, texts.len()));
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
    let mut cache = KeyValueCache::with_across(places * beams * lane, places * longest);
    let rules = Rules {
        width: beams,
        length_penalty: options.length_penalty,
        ends: model.config().eos_token_ids.clone(),
        given: opening.len() - 1,
        longest: options.max_new_tokens,
    };
    let mut waiting = texts.iter().enumerate();
    let mut free: Vec<usize> = (0..places).rev().collect();
    let mut active: Vec<Active> = vec![];
    loop {
        let mut prompts = vec![];
        while let Some(&place) = free.last()
            && let Some((number, text)) = waiting.next()
        {
            free.pop();
            prompts.push((text.clone(), place * longest));
            let paths = vec![Path { lane: place * beams, rows: vec![] }];
            active.push(Active { number, place, search: Search::new(rules.clone()), paths });
        }
        if active.is_empty() {
            return Ok(answers);
        }
        let best = step(model, &mut cache, &mut active, Inputs { prompts, opening: &opening, texts, lane, longest })?;
        let mut go_on = true;
        let mut left = vec![];
        for (mut one, candidates) in active.into_iter().zip(best) {
            match one.search.advance(&candidates) {
                Some(parents) => {
                    one.paths = continued(&one.paths, &parents, one.place * beams..(one.place + 1) * beams);
                    left.push(one);
                }
                None => {
                    free.push(one.place);
                    answers[one.number] = one.search.answer();
                    go_on &= on_answer(one.number, &answers[one.number]);
                }
            }
        }
        active = left;
        if !go_on {
            return Ok(answers);
        }
    }
}

/// What goes in beside the texts that are under way.
struct Inputs<'a> {
    /// Texts that are new, and the first row of each across.
    prompts: Vec<(Vec<u32>, usize)>,
    opening: &'a [u32],
    texts: &'a [Vec<u32>],
    /// Rows of a lane.
    lane: usize,
    /// Rows of a text across.
    longest: usize,
}

/// Puts each beam's next tokens through the model, and finds the best continuations of each text.
fn step(
    model: &Translator,
    cache: &mut KeyValueCache,
    active: &mut [Active],
    inputs: Inputs<'_>,
) -> Result<Vec<Vec<Candidate>>, SamplingError> {
    let Inputs { prompts, opening, texts, lane, longest } = inputs;
    let (mut ids, mut segments, mut runs, mut last_rows) = (vec![], vec![], vec![], vec![]);
    for one in active.iter_mut() {
        let text = one.place * longest..one.place * longest + texts[one.number].len();
        for (beam, path) in one.search.running().iter().zip(&mut one.paths) {
            let next = beam.ids.last().map_or(opening, std::slice::from_ref);
            let first = path.lane * lane + path.rows.iter().map(Range::len).sum::<usize>();
            let rows = first..first + next.len();
            segments.push(Segment { rows: rows.clone(), context: path.rows.clone(), attends_itself: true });
            path.push(rows);
            runs.push((next.len(), text.clone()));
            ids.extend_from_slice(next);
            last_rows.push(ids.len() - 1);
        }
    }
    let layout = PackedLayout::in_cache(cache.rows(), segments);
    let across = PackedLayout::across(cache.rows_across(), runs);
    let hidden = model.going_on(&Going { prompts, ids, layout, across }, cache);
    let states = select_rows(&hidden, &last_rows);
    let vocabulary = model.config().vocab_size;
    let at_once = (MAX_LOGITS / vocabulary).max(1);
    let mut beams = active.iter().enumerate().flat_map(|(at, one)| (0..one.paths.len()).map(move |beam| (at, beam)));
    let mut best: Vec<Vec<Candidate>> = active.iter().map(|_| vec![]).collect();
    for states in states.split(at_once, 0) {
        let logits = floats(model.logits(states));
        for (row, (at, beam)) in logits.chunks(vocabulary).zip(beams.by_ref()) {
            let search = &active[at].search;
            let of_beam = most_probable(row, search.wanted());
            let of_beam = of_beam.map_err(|got| SamplingError::NotFinite { prompt: active[at].number, got })?;
            let before = search.running()[beam].score;
            best[at].extend(of_beam.into_iter().map(|(id, log_prob)| Candidate { beam, id, score: before + log_prob }));
        }
    }
    for (candidates, one) in best.iter_mut().zip(active.iter()) {
        // Beams and tokens in their order, where scores are the same.
        candidates.sort_by(|one, other| other.score.total_cmp(&one.score));
        candidates.truncate(one.search.wanted());
    }
    Ok(best)
}

/// The most probable tokens and their log-probabilities, the most probable first; equal ones by their number. The error is a logit
/// that leaves no probabilities.
fn most_probable(logits: &[f32], count: usize) -> Result<Vec<(u32, f32)>, f32> {
    let mut largest = f32::NEG_INFINITY;
    for &logit in logits {
        if logit.is_nan() {
            return Err(logit);
        }
        largest = largest.max(logit);
    }
    if !largest.is_finite() {
        return Err(largest);
    }
    let log_sum = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum::<f64>().ln() as f32;
    let mut best: Vec<(u32, f32)> = vec![];
    for (id, &logit) in logits.iter().enumerate() {
        if best.len() == count && best.last().is_some_and(|(_, least)| logit <= *least) {
            continue;
        }
        let at = best.partition_point(|(_, other)| *other >= logit);
        best.truncate(count - 1);
        best.insert(at, (id as u32, logit));
    }
    Ok(best.into_iter().map(|(id, logit)| (id, logit - largest - log_sum)).collect())
}

/// The paths of beams that go on from `parents`. The first that goes on from a beam keeps its lane, and others get lanes that are
/// free now. A row of a lane is written once, for a beam's next token goes behind all rows that anyone has seen.
fn continued(paths: &[Path], parents: &[usize], lanes: Range<usize>) -> Vec<Path> {
    let kept = |at: usize| !parents[..at].contains(&parents[at]);
    let taken: Vec<usize> = (0..parents.len()).filter(|&at| kept(at)).map(|at| paths[parents[at]].lane).collect();
    let mut others = lanes.filter(|lane| !taken.contains(lane)).collect::<Vec<_>>().into_iter();
    (0..parents.len())
        .map(|at| {
            let parent = &paths[parents[at]];
            let lane = if kept(at) { parent.lane } else { others.next().expect("a lane for each beam") };
            Path { lane, rows: parent.rows.clone() }
        })
        .collect()
}

impl Path {
    fn push(&mut self, rows: Range<usize>) {
        match self.rows.last_mut() {
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => self.rows.push(rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beams_that_go_on_from_one_have_lanes_of_their_own() {
        let path = |lane, rows: &[Range<usize>]| Path { lane, rows: rows.to_vec() };
        let paths = [path(4, &[0..3]), path(5, &[0..2, 12..13]), path(6, &[20..23])];
        let next = continued(&paths, &[1, 1, 0], 4..7);
        assert_eq!(next, [path(5, &[0..2, 12..13]), path(6, &[0..2, 12..13]), path(4, &[0..3])]);
        let mut one = path(0, &[3..5]);
        one.push(5..6);
        one.push(9..10);
        assert_eq!(one.rows, [3..6, 9..10]);
    }

    #[test]
    fn the_most_probable_by_hand() {
        // Probabilities 1/8, 4/8, 2/8, 1/8.
        let logits = [0.0, 4f32.ln(), 2f32.ln(), 0.0];
        let got = most_probable(&logits, 3).unwrap();
        assert_eq!(got.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 0]);
        for ((_, got), expected) in got.iter().zip([0.5f64, 0.25, 0.125]) {
            assert!((f64::from(*got) - expected.ln()).abs() < 1e-6, "{got}");
        }
        assert_eq!(most_probable(&logits, 9).unwrap().len(), 4);
        assert!(most_probable(&[0.0, f32::NAN], 1).unwrap_err().is_nan());
        assert_eq!(most_probable(&[0.0, f32::INFINITY], 1), Err(f32::INFINITY));
    }
}
