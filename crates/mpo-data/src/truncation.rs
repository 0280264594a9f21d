//! How a prompt and its responses are cut: to a limit together, which is the rule of the released code, after the
//! responses were cut to a limit of their own.

use crate::error::DataError;

/// The most tokens a prompt and a response may have together, and a response alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    max_tokens: usize,
    max_response_tokens: usize,
}

/// How many tokens are kept, each from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens of a response, at most.
    pub response: usize,
}

impl Truncation {
    /// Nothing is cut.
    pub const UNLIMITED: Self = Self { max_tokens: usize::MAX, max_response_tokens: usize::MAX };

    /// A limit of `max_tokens`, which must leave room for one token of each. A response has no limit of its own where
    /// `max_response_tokens` gives none.
    ///
    /// # Errors
    /// If a limit leaves no room.
    pub fn new(max_tokens: usize, max_response_tokens: Option<usize>) -> Result<Self, DataError> {
        if max_tokens < 2 {
            return Err(DataError::LimitTooSmall(max_tokens));
        }
        let max_response_tokens = max_response_tokens.unwrap_or(usize::MAX);
        if max_response_tokens < 1 {
            return Err(DataError::NoRoomForResponse);
        }
        Ok(Self { max_tokens, max_response_tokens })
    }

    /// The limit.
    pub fn max_tokens(self) -> usize {
        self.max_tokens
    }

    /// The lengths to keep of a prompt and of its longer response. The shorter part keeps all it has while that is
    /// less than half the limit; two long parts share the limit in proportion.
    pub fn lengths(self, prompt: usize, response: usize) -> Lengths {
        let limit = self.max_tokens;
        let response = response.min(self.max_response_tokens);
        if prompt.saturating_add(response) <= limit {
            return Lengths { prompt, response };
        }
        let response = if response < limit.div_ceil(2) {
            response
        } else if prompt < limit.div_ceil(2) {
            limit - prompt
        } else {
            // In floating point as the released code does it, so that both round alike.
            let share = response as f64 / (prompt as f64 + response as f64);
            (limit as f64 * share) as usize
        };
        // The released code may leave nothing of a short response to a very long prompt; a token is kept here.
        let response = response.clamp(1, limit - 1);
        Lengths { prompt: prompt.min(limit - response), response }
    }
}

impl Default for Truncation {
    /// The limit of the released code.
    fn default() -> Self {
        Self { max_tokens: 1024, max_response_tokens: usize::MAX }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_worked_by_hand() {
        for (limit, (prompt, response), expected) in [
            // Fits, to the last token.
            (10, (4, 6), (4, 6)),
            // The response is short (2·4 < 10): the prompt gives way.
            (10, (50, 4), (6, 4)),
            // The prompt is short (2·4 < 10): the response gives way.
            (10, (4, 50), (4, 6)),
            // Half is not less than half: 10·30/(5+30) = 8.57.
            (10, (5, 30), (2, 8)),
            // An odd limit: 2·5 < 11 holds, 2·6 < 11 does not; 11·6/36 = 1.83.
            (11, (30, 5), (6, 5)),
            (11, (30, 6), (10, 1)),
            // In proportion: 1024·900/1800 = 512; 1024·2000/3000 = 682.67.
            (1024, (900, 900), (512, 512)),
            (1024, (1000, 2000), (342, 682)),
            // 4·2/(98+2) = 0.08, yet one token of the response stays.
            (4, (98, 2), (3, 1)),
            (2, (9, 9), (1, 1)),
        ] {
            let lengths = Truncation::new(limit, None).unwrap().lengths(prompt, response);
            assert_eq!((lengths.prompt, lengths.response), expected, "{limit} {prompt} {response}");
        }
    }

    #[test]
    fn a_response_with_a_limit_of_its_own_leaves_the_prompt_whole() {
        let truncation = Truncation::new(10, Some(3)).unwrap();
        for ((prompt, response), expected) in [
            ((7, 50), (7, 3)),
            ((7, 2), (7, 2)),
            // Together too long all the same: the response is the shorter part.
            ((9, 50), (7, 3)),
        ] {
            let lengths = truncation.lengths(prompt, response);
            assert_eq!((lengths.prompt, lengths.response), expected);
        }
    }

    #[test]
    fn a_limit_leaves_room_for_both_parts() {
        assert!(Truncation::new(1, None).is_err());
        assert!(Truncation::new(8, Some(0)).is_err());
        assert_eq!(Truncation::new(2, None).unwrap().max_tokens(), 2);
        assert_eq!(Truncation::default().max_tokens(), 1024);
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_nor_nothing(limit in 2..5000_usize, prompt in 1..9000_usize, response in 1..9000_usize) {
            let kept = Truncation::new(limit, None).unwrap().lengths(prompt, response);
            prop_assert!(kept.prompt + kept.response <= limit);
            prop_assert!((1..=prompt).contains(&kept.prompt) && (1..=response).contains(&kept.response));
        }
    }
}
