//! How settings are declared, and what follows from a declaration.

use std::fmt;

use serde_json::Value;

use super::list::TrainOptions;
use super::value::Takes;

/// What a setting decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decides {
    /// How a run is trained: part of what the run is, and something that a comparison can try values of.
    Training,
    /// What is learned and measured: part of what the run is, and the same for all runs of a comparison.
    Identity,
    /// Where a run lies and computes, and what is shown and saved of it. Of what a run reads, not the name counts but the
    /// contents, so names stand here too.
    Nothing,
}

/// A setting, as people see it.
pub struct Setting {
    /// Its key in a configuration file.
    pub key: &'static str,
    /// The part of the settings that it belongs to.
    pub group: &'static str,
    /// What it does: Markdown, in one paragraph.
    pub help: &'static str,
    /// What stands for its value in help, such as `N`.
    pub placeholder: &'static str,
    /// What its value may be, in words.
    pub range: &'static str,
    /// The words that its value is one of, and what each means; none if it is no word.
    pub words: fn() -> Vec<(&'static str, &'static str)>,
    /// What it is when it is not given, in words.
    pub default: fn() -> String,
    /// How it is given as text.
    pub takes: Takes,
    /// What it decides.
    pub decides: Decides,
    /// The value that comes to the same as none.
    pub(super) implied: fn() -> Option<Value>,
    /// Sets it to what was typed.
    pub(super) set: fn(&mut TrainOptions, &str) -> Result<(), String>,
    pub(super) is_given: fn(&TrainOptions) -> bool,
}

impl Setting {
    /// Its flag, without the hyphens in front.
    pub fn flag(&self) -> String {
        let name = self.key.replace('_', "-");
        if self.takes == Takes::Several { name.trim_end_matches('s').to_owned() } else { name }
    }

    /// Sets it in `options` to what was typed.
    ///
    /// # Errors
    /// What was expected, and what was typed.
    pub fn set(&self, options: &mut TrainOptions, text: &str) -> Result<(), String> {
        (self.set)(options, text)
    }

    /// Whether it is given in `options`.
    pub fn is_given(&self, options: &TrainOptions) -> bool {
        (self.is_given)(options)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

/// Declares the settings. One is written as
///
/// ```text
/// /// What it does.
/// key: Type = required("what it must be") | default(value) | optional("what it is without") | implied(value),
///     "PLACEHOLDER", decides [, range];
/// ```
///
/// An implied value is that of a setting that is left open, so that giving it makes no other run.
///
/// Those that are `resolved before` the others say what these begin with, and are settings of no run: their values stand in the
/// others' place.
///
/// Hyper-parameters of the method, which follow from the list of objectives, stand beside them in both structs.
macro_rules! settings {
    ($($group:literal {$(
        $(#[doc = $help:literal])+
        $key:ident: $Type:ty = $kind:ident($($with:tt)+), $placeholder:literal, $decides:ident $(, $range:expr)?;
    )+})+ resolved before: $before:literal {$(
        $(#[doc = $before_help:literal])+
        $before_key:ident: $Before:ty = optional($without:literal), $before_placeholder:literal;
    )+}) => {
        /// Settings by name, each given or not: what a file, a recipe or a command line says.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default)]
        pub struct TrainOptions {
            $($($(#[doc = $help])+ pub $key: Option<$Type>,)+)+
            $($(#[doc = $before_help])+ pub $before_key: Option<$Before>,)+
            /// Hyper-parameters of the method.
            #[serde(flatten)]
            pub hyper_parameters: HyperParameters,
            /// Where those that came from a file stand there.
            #[serde(skip)]
            pub places: Places,
        }

        /// Settings of a run, every one resolved and checked. Written as `config.yaml`, it reads back as [`TrainOptions`].
        #[derive(Debug, Clone, PartialEq)]
        pub struct TrainConfig {
            $($($(#[doc = $help])+ pub $key: settings!(@type $kind $Type),)+)+
            /// Hyper-parameters of the method, all of them.
            pub hyper_parameters: Settings,
        }

        /// Every setting but the hyper-parameters, in the order of the reference page.
        pub const SETTINGS: &[Setting] = &[
            $($(settings!(
                @setting $group [$($help)+] $key $Type, $kind($($with)+), $placeholder, $decides $(, $range)?
            ),)+)+
            $(settings!(
                @setting $before [$($before_help)+] $before_key $Before, optional($without), $before_placeholder, Nothing
            ),)+
        ];

        impl TrainOptions {
            /// These settings, and `weaker` where they say nothing. A null says that what is weaker does not count.
            #[must_use]
            pub fn or(self, weaker: Self) -> Self {
                let places = self.places.or(&weaker.places, |key| self.gives(key));
                let counts = |key: &str| !self.places.is_null(key);
                let mut hyper_parameters = weaker.hyper_parameters;
                hyper_parameters.0.retain(|key, _| counts(key));
                hyper_parameters.0.extend(self.hyper_parameters.0);
                Self {
                    hyper_parameters,
                    places,
                    $($($key: self.$key.or(weaker.$key.filter(|_| counts(stringify!($key)))),)+)+
                    $($before_key: self.$before_key.or(weaker.$before_key.filter(|_| counts(stringify!($before_key)))),)+
                }
            }

            /// Of text that was read: each value as it is meant, such as a path in the user's home.
            #[must_use]
            pub(super) fn settled(self) -> Self {
                Self {
                    hyper_parameters: self.hyper_parameters,
                    places: self.places,
                    $($($key: self.$key.map(SettingValue::settled),)+)+
                    $($before_key: self.$before_key.map(SettingValue::settled),)+
                }
            }

            /// Whether they say something of a key.
            fn gives(&self, key: &str) -> bool {
                let mut settings = SETTINGS.iter();
                settings.any(|setting| setting.key == key && setting.is_given(self)) || self.hyper_parameters.0.contains_key(key)
            }

            /// By key, without those that are not given. What is null stays so.
            pub(super) fn by_key(&self) -> Result<Settings, serde_json::Error> {
                let mut settings = Settings::from_iter(self.places.nulls().map(|key| (key.to_owned(), Value::Null)));
                $($(if let Some(value) = &self.$key {
                    settings.insert(stringify!($key).into(), serde_json::to_value(value)?);
                })+)+
                $(if let Some(value) = &self.$before_key {
                    settings.insert(stringify!($before_key).into(), serde_json::to_value(value)?);
                })+
                settings.extend(self.hyper_parameters.0.clone());
                Ok(settings)
            }

            /// With defaults filled in, each value checked by itself.
            pub(super) fn with_defaults(self, hyper_parameters: Settings) -> Result<TrainConfig, TrainError> {
                $($(if let Some(value) = &self.$key {
                    settings!(@check stringify!($key), value, $Type $(, $range)?);
                })+)+
                Ok(TrainConfig {
                    hyper_parameters,
                    $($($key: settings!(
                        @resolve $kind($($with)+) stringify!($key), self.$key
                    ),)+)+
                })
            }
        }

        impl TrainConfig {
            /// By key; what was left open is null.
            pub(super) fn by_key(&self) -> Result<Settings, serde_json::Error> {
                let mut settings = Settings::new();
                $($(settings.insert(stringify!($key).into(), serde_json::to_value(&self.$key)?);)+)+
                settings.extend(self.hyper_parameters.clone());
                Ok(settings)
            }
        }
    };

    (
        @setting $group:literal [$($help:literal)+] $key:ident $Type:ty,
        $kind:ident($($with:tt)+), $placeholder:literal, $decides:ident $(, $range:expr)?
    ) => {
        Setting {
            key: stringify!($key),
            group: $group,
            help: concat!($($help, "\n"),+),
            placeholder: $placeholder,
            range: settings!(@expected $Type $(, $range)?),
            words: <$Type>::words,
            default: || settings!(@shown $kind($($with)+) $Type),
            takes: <$Type>::TAKES,
            decides: Decides::$decides,
            implied: || settings!(@implied $kind($($with)+) $Type),
            set: |options, text| {
                options.$key = Some(<$Type>::typed(text, options.$key.take())?.settled());
                Ok(())
            },
            is_given: |options| options.$key.is_some(),
        }
    };

    (@type optional $Type:ty) => { Option<$Type> };
    (@type implied $Type:ty) => { Option<$Type> };
    (@type $kind:ident $Type:ty) => { $Type };

    (@expected $Type:ty) => { <$Type>::WHAT };
    (@expected $Type:ty, $range:expr) => {{ const RANGE: Range<$Type> = $range; RANGE.expected }};

    (@shown required($expected:literal) $Type:ty) => { "required".into() };
    (@shown optional($without:literal) $Type:ty) => { $without.into() };
    (@shown $kind:ident($value:expr) $Type:ty) => {{ let value: $Type = $value; format!("`{}`", value.shown()) }};

    (@implied implied($value:expr) $Type:ty) => {{ let value: $Type = $value; serde_json::to_value(value).ok() }};
    (@implied $kind:ident($with:expr) $Type:ty) => { None };

    (@check $key:expr, $value:ident, $Type:ty) => {
        if let Some(expected) = $value.expected() {
            let shown = Some($value.shown()).filter(|shown| !shown.is_empty());
            return Err(TrainError::setting($key, expected, shown.unwrap_or("nothing".into())));
        }
    };
    (@check $key:expr, $value:ident, $Type:ty, $range:expr) => {
        const RANGE: Range<$Type> = $range;
        if !(RANGE.holds)($value) {
            return Err(TrainError::setting($key, RANGE.expected, $value.shown()));
        }
    };

    (@resolve required($expected:literal) $key:expr, $given:expr) => {
        $given.ok_or_else(|| TrainError::setting($key, $expected, "nothing"))?
    };
    (@resolve optional($without:literal) $key:expr, $given:expr) => { $given };
    (@resolve implied($value:expr) $key:expr, $given:expr) => { $given };
    (@resolve default($value:expr) $key:expr, $given:expr) => { $given.unwrap_or_else(|| $value) };
}
pub(super) use settings;
