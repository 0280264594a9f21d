//! How far apart a model's languages lie, layer by layer: two figures.

use super::charts::{self, Curve, Stroke};
use super::page::Figure;
use super::run::RunReport;
use crate::error::EvalError;
use crate::layers::Layers;

/// What has to be drawn of a run, and how.
struct Drawn<'a> {
    run: &'a RunReport,
    layers: &'a Layers,
    stroke: Stroke,
}

/// The figures of all runs: those of two beside each other in one picture, as before and after; of more, each for itself.
pub(super) fn figures(runs: &[RunReport]) -> Result<Vec<Figure>, EvalError> {
    let seen = runs.iter().filter_map(|run| Some((run, run.evaluation.as_ref()?.layers.as_ref()?)));
    let seen: Vec<_> = seen.map(|(run, layers)| Drawn { run, layers, stroke: Stroke::Whole }).collect();
    let mut figures = vec![];
    match <[Drawn<'_>; 2]>::try_from(seen) {
        Ok([before, after]) => figures.extend(both(&[Drawn { stroke: Stroke::Dashed, ..before }, after], "")?),
        Err(seen) => {
            for of in seen {
                let whose = if runs.len() > 1 { format!("{}: ", of.run.name) } else { String::new() };
                figures.extend(both(&[of], &whose)?);
            }
        }
    }
    Ok(figures)
}

/// The two figures of runs in one picture, without those of which nothing is known.
fn both(drawn: &[Drawn<'_>], whose: &str) -> Result<Vec<Figure>, EvalError> {
    let figures = [silhouettes(drawn)?, directions(drawn)?];
    let strokes = match drawn {
        [before, after] => format!(" Dashed: {}; whole: {}.", before.run.name, after.run.name),
        _ => String::new(),
    };
    let whole = |Figure { title, chart }| Figure { title: format!("{whose}{title}{strokes}"), chart };
    Ok(figures.into_iter().flatten().map(whole).collect())
}

/// Prompts by meaning and by language.
fn silhouettes(drawn: &[Drawn<'_>]) -> Result<Option<Figure>, EvalError> {
    const KEYS: [&str; 2] = ["by meaning", "by language"];
    let curves = drawn.iter().flat_map(|Drawn { run, layers, stroke }| {
        let curve = |key: usize| Curve {
            points: layers
                .silhouettes
                .iter()
                .map(|of| (of.layer as f64, if key == 0 { of.meaning } else { of.language }))
                .collect(),
            key,
            stroke: *stroke,
            name: Some(format!("{}, {}", run.name, KEYS[key])),
        };
        (!layers.silhouettes.is_empty()).then(|| [0, 1].map(curve)).into_iter().flatten()
    });
    let curves: Vec<Curve<'_>> = curves.collect();
    if curves.is_empty() {
        return Ok(None);
    }
    let bottlenecks = drawn.iter().filter_map(|of| {
        let name = if drawn.len() > 1 { format!(" ({})", of.run.name) } else { String::new() };
        Some(format!("layer {} of {}{name}", of.layers.bottleneck?, of.layers.silhouettes.len()))
    });
    let bottlenecks = bottlenecks.collect::<Vec<_>>().join(" and ");
    let title = format!(
        "Prompts by meaning and by language: mean silhouettes. Meaning is farthest ahead, the bottleneck, at {bottlenecks}."
    );
    Ok(Some(Figure { title, chart: charts::curves(&KEYS, &curves, "layer", "silhouette")? }))
}

/// Every language's direction of harm beside the dominant one's.
fn directions(drawn: &[Drawn<'_>]) -> Result<Option<Figure>, EvalError> {
    let mut keys: Vec<&str> = vec![];
    let mut curves = vec![];
    for Drawn { run, layers, stroke } in drawn {
        for of in &layers.directions {
            let name = of.language.name();
            let key = keys.iter().position(|key| *key == name).unwrap_or_else(|| {
                keys.push(name);
                keys.len() - 1
            });
            curves.push(Curve {
                points: (1..).zip(&of.cosines).map(|(layer, cosine)| (f64::from(layer), *cosine)).collect(),
                key,
                stroke: *stroke,
                name: Some(format!("{}, {name}", run.name)),
            });
        }
    }
    let dominant = drawn.iter().find_map(|of| of.layers.dominant);
    let Some(dominant) = dominant.filter(|_| !curves.is_empty()) else {
        return Ok(None);
    };
    let title = format!("The direction from harmless to harmful prompts: cosine with {}’s.", dominant.name());
    Ok(Some(Figure { title, chart: charts::curves(&keys, &curves, "layer", "cosine")? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::Evaluation;
    use crate::layers::{Direction, LayerSilhouettes};

    fn run(name: &str, bottleneck: usize) -> RunReport {
        let silhouette = |layer| LayerSilhouettes { layer, meaning: 0.5, language: 0.25 };
        let direction = |code: &str| Direction {
            language: code.parse().unwrap(),
            harmful: 4,
            harmless: 4,
            cosines: vec![0.5, 0.75, 0.875],
        };
        let layers = Layers {
            silhouettes: (1..4).map(silhouette).collect(),
            prompts: 8,
            bottleneck: Some(bottleneck),
            dominant: "en".parse().ok(),
            directions: vec![direction("sw"), direction("bn")],
        };
        let mut run = RunReport::default();
        run.name = name.into();
        run.evaluation = Some(Evaluation { layers: Some(layers), ..Evaluation::default() });
        run
    }

    #[test]
    fn two_runs_are_before_and_after_in_one_picture() {
        let figures = figures(&[run("base", 2), run("mpo", 3)]).unwrap();
        let [silhouettes, directions] = &figures[..] else { panic!("{figures:?}") };
        assert!(silhouettes.title.contains("at layer 2 of 3 (base) and layer 3 of 3 (mpo)."), "{}", silhouettes.title);
        assert!(directions.title.ends_with("cosine with English’s. Dashed: base; whole: mpo."), "{}", directions.title);
        let tip = "<title>layer 2\nbase, by meaning: 0.50\nbase, by language: 0.25\nmpo, by meaning: 0.50\n\
                   mpo, by language: 0.25</title>";
        assert!(silhouettes.chart.contains(tip), "{}", silhouettes.chart);
        assert!(directions.chart.contains("<title>layer 3\nbase, Swahili: 0.88\nbase, Bengali: 0.88\nmpo, Swahili"));
        // The legend has each language once.
        assert_eq!(directions.chart.matches("Swahili\n</text>").count(), 1, "{}", directions.chart);
    }

    #[test]
    fn one_run_and_three_have_pictures_of_their_own() {
        let titles = |runs: &[RunReport]| figures(runs).unwrap().into_iter().map(|of| of.title).collect::<Vec<_>>();
        let one = titles(&[run("base", 2)]);
        assert!(one[0].starts_with("Prompts by meaning") && one[0].ends_with("at layer 2 of 3."), "{one:?}");
        let three = titles(&[run("a", 1), run("b", 2), run("c", 3)]);
        assert_eq!(three.len(), 6);
        assert!(three[4].starts_with("c: Prompts"), "{three:?}");
        assert!(titles(&[RunReport::default()]).is_empty());
    }
}
