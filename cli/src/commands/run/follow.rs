//! Looking on while a run goes on: a board that is redrawn for a person, lines for a pipe, JSON lines for a program.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::watch::Watch;
use crate::client::Client;
use crate::commands::trace;
use crate::console::Console;
use crate::failure::Failure;
use crate::render::board::Board;
use crate::view::event::{EventView, LineView};
use crate::view::run::RunView;

/// How often the board is redrawn, for the times in it.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Waits for the end of a run; with `live`, shows its steps meanwhile.
///
/// # Errors
/// If the server cannot be reached for a minute, or the output cannot be written.
pub async fn follow(
    client: &Client,
    console: &Console,
    run_id: &str,
    live: bool,
) -> Result<RunView, Failure> {
    let mut watch = Watch::new(client, run_id);
    let drawn = live && console.live && !console.json();
    let board = Board::new(RunView::from(trace::fetch(client, run_id).await?));
    if drawn {
        draw(&mut watch, board, console).await?;
    } else {
        let mut board = board;
        while let Some(event) = watch.next().await? {
            let event = EventView::from(event);
            match (live, console.json()) {
                (false, _) => {}
                (true, true) => console.line(&LineView::Event(&event))?,
                (true, false) => console.print(&board.line(&event, console.style))?,
            }
            board.apply(&event);
        }
    }
    let run = RunView::from(trace::fetch(client, run_id).await?);
    if live && console.json() {
        console.line(&LineView::Run(&run))?;
    }
    Ok(run)
}

async fn draw(watch: &mut Watch<'_>, mut board: Board, console: &Console) -> Result<(), Failure> {
    let mut redraw = interval(REDRAW_EVERY);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // Times in the board are the server's: the last event's, and what has passed here since it came.
    let (mut came, mut height) = (Instant::now(), 0);
    loop {
        tokio::select! {
            event = watch.next() => match event? {
                Some(event) => {
                    board.apply(&EventView::from(event));
                    came = Instant::now();
                }
                None => {
                    redraw_over(&mut height, &board.draw(Duration::ZERO, console.style), console)?;
                    return Ok(());
                }
            },
            _ = redraw.tick() => redraw_over(&mut height, &board.draw(came.elapsed(), console.style), console)?,
        }
    }
}

/// Moves up over what was drawn last, clears it and draws anew.
fn redraw_over(height: &mut usize, text: &str, console: &Console) -> Result<(), Failure> {
    let up = if *height > 0 { format!("\u{1b}[{height}A\r\u{1b}[J") } else { String::new() };
    *height = text.lines().count();
    console.raw(&format!("{up}{text}"))
}
