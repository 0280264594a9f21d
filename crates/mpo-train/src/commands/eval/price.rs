//! What a judge costs.

use std::str::FromStr;

use mpo_chat::Usage;

/// The price of a million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Price {
    read: f64,
    written: f64,
}
impl Price {
    pub(super) fn of(self, usage: Usage) -> f64 {
        let millions = |tokens: u64| tokens as f64 / 1e6;
        millions(usage.prompt_tokens) * self.read + millions(usage.completion_tokens) * self.written
    }
}
impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let price = |text: &str| text.trim().parse().ok().filter(|price: &f64| *price >= 0.0);
        let prices = text.split_once(',').and_then(|(read, written)| Some((price(read)?, price(written)?)));
        let (read, written) = prices.ok_or_else(|| format!("expected two prices, such as 2.5,10, got {text}"))?;
        Ok(Self { read, written })
    }
}
