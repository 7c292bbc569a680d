// Package host runs plugins: it starts their processes, keeps them running, and
// asks them within bounds.
//
// A [Host] holds the plugins that a configuration names. [Host.Reconcile] brings
// it to the next configuration: processes whose entry did not change go on
// running, new ones start first, and only when all of them stand are replaced ones
// retired; a retired process ends when its last [Handle] is closed.
//
// [Host.Configure] gives a [Handle]: settings of one experience, bound to
// whatever process serves the plugin at the moment. When a process dies it is
// restarted with growing pauses, and its handles configure themselves again at
// their next call. Nobody waits for that: until then, calls fail at once.
//
// A call is bounded by the plugin's timeout and by a number of calls at a time;
// failures in a row open a breaker, so that a sick plugin costs nothing. Every
// failure is an [*Error] that says in one word what happened.
//
// Plugins that ship with Sedge can also run inside this process, through the
// same interface and the same bounds.
package host
