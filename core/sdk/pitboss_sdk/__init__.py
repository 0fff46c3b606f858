"""The contract between Pitboss and its plugins and packs: values, protocols and errors, no I/O."""

SDK_VERSION = "0.1.0"
