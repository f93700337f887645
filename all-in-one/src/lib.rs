//! Every service in one process, the demo, and the operator's command line.
