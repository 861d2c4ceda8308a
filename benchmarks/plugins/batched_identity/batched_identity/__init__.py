"""Identity with @batched: how a model that wants the whole batch is written."""
