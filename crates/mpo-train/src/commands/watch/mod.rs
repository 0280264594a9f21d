//! `mpo-train watch`: a run on the terminal while it goes on, or after.

mod answers;
mod curves;
mod head;
mod languages;
mod number;
mod screen;
mod seen;

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use mpo_trainer::{EVENTS_FILE, Kind, is_marked};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::failure::Failure;
use crate::signals;
use screen::Screen;
use seen::Seen;

const EXAMPLES: &str = "\
Examples:
  mpo-train watch runs/qwen
  mpo-train watch runs/compare/runs/mpo/seed-42";

/// How often what is drawn is drawn again: an age is in seconds.
const TICK: Duration = Duration::from_millis(250);

/// Watch a run on the terminal: losses, gaps by language, answers, time left
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArguments {
    /// Run folder, of a run that goes on, is about to begin or is finished
    #[arg(value_name = "RUN")]
    run: PathBuf,
}

pub(crate) fn run(arguments: &WatchArguments) -> Result<(), Failure> {
    let folder = &arguments.run;
    check(folder)?;
    // What is broken is told of while there is a line to tell it on.
    let seen = Seen::read(folder)?;
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::new(
            "expected a terminal to draw on and to take keys from, got a file or another program",
            format!(
                "`mpo-train report {}` writes a page, and {} has every number",
                folder.display(),
                folder.join(EVENTS_FILE).display()
            ),
        ));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    signals::listen(move || asked.store(true, Ordering::Relaxed))?;
    thread::spawn(end_with_terminal);
    let mut terminal = ratatui::try_init().map_err(Failure::Output)?;
    let watched = watch(folder, seen, &mut terminal, &stop);
    ratatui::restore();
    watched
}

/// Ends the program when its terminal is closed: crossterm would go on reading from it, without end and with all of a processor.
fn end_with_terminal() {
    while io::stdin().is_terminal() {
        thread::sleep(Duration::from_secs(1));
    }
    process::exit(0);
}

/// Draws until the user has seen enough.
fn watch(folder: &Path, seen: Seen, terminal: &mut DefaultTerminal, stop: &AtomicBool) -> Result<(), Failure> {
    let mut screen = Screen::new(seen);
    let mut as_of = stamp(folder);
    // A long log takes a while to read, and is not read all the time.
    let mut next = Instant::now() + TICK;
    while !stop.load(Ordering::Relaxed) {
        terminal.draw(|frame| screen.draw(frame)).map_err(Failure::Output)?;
        if event::poll(TICK).map_err(Failure::Output)?
            && let Event::Key(key) = event::read().map_err(Failure::Output)?
            && key.kind != KeyEventKind::Release
        {
            if is_quit(key) {
                break;
            }
            screen.press(key.code);
        }
        let now = stamp(folder);
        if now != as_of && Instant::now() >= next {
            let began = Instant::now();
            screen.show(Seen::read(folder)?);
            as_of = now;
            next = Instant::now() + began.elapsed() * 10;
        }
    }
    Ok(())
}

fn is_quit(key: KeyEvent) -> bool {
    let is_control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    is_control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

/// What changes when something is written that is shown.
fn stamp(folder: &Path) -> Vec<Option<(u64, std::time::SystemTime)>> {
    let of = |name| {
        let meta = fs::metadata(folder.join(name)).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    seen::FILES.map(of).to_vec()
}

/// Whether there is a run to watch, which may be about to begin.
fn check(folder: &Path) -> Result<(), Failure> {
    if is_marked(folder, Kind::Compare) {
        return Err(Failure::new(
            format!("{}: expected the folder of one run, got a comparison", folder.display()),
            format!("name a run in it, such as {}", folder.join("runs/mpo/seed-42").display()),
        ));
    }
    let kinds = [Kind::Train, Kind::ComparedRun, Kind::Miniature, Kind::MiniatureModel];
    let is_run = kinds.iter().any(|kind| is_marked(folder, *kind)) || folder.join(EVENTS_FILE).exists();
    if is_run {
        return Ok(());
    }
    let got = if folder.exists() { "one with neither its mark, mpo-train.json, nor events.jsonl" } else { "none" };
    Err(Failure::new(
        format!("{}: expected the folder of a run, got {got}", folder.display()),
        "name the --output of `mpo-train train`",
    ))
}

#[cfg(test)]
mod tests;
