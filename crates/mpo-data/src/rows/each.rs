//! What is done alike with rows of every kind.

/// An expression of the rows, whatever their kind. A third name is that of what makes such rows of a list again.
macro_rules! each {
    ($self:expr, $rows:pat => $body:expr) => {
        each!($self, $rows, _ => $body)
    };
    ($self:expr, $rows:pat, $of_kind:pat => $body:expr) => {
        match $self {
            Self::Bilingual($rows) => {
                let $of_kind = Self::Bilingual;
                $body
            }
            Self::Monolingual($rows) => {
                let $of_kind = Self::Monolingual;
                $body
            }
            Self::Unpaired($rows) => {
                let $of_kind = Self::Unpaired;
                $body
            }
            Self::Parallel($rows) => {
                let $of_kind = Self::Parallel;
                $body
            }
        }
    };
}

pub(crate) use each;
