// Package proxy is the data plane: it answers the visitors of a site.
//
// A request walks through the steps that the handler lists in this order:
//
//	accept    limits, framing, request id, client address
//	route     host and path pick a route and its upstream
//	identify  signed cookie, bots, prefetches, people who want no profile
//	profile   what is known of the visitor
//	segment   which segments they are in
//	assign    which arms of experiments they are in
//	plan      what plugins want for this page
//	obtain    the origin's answer, from what is kept or from the origin
//	rewrite   the plan's edits: a variant of a kept page, or streaming
//	respond   caching and coding headers, cookie
//	record    page view, triggers, deliveries
//
// Profile to plan share one budget of time, and whatever fails in them ends in
// the same way: the visitor gets the origin's own page, and a counter and a log
// line say why. A page that no experience concerns is passed on byte by byte.
//
// The package knows no engine. It declares small interfaces for what it needs and
// speaks the values of package decision; the program plugs the engines in by
// making a [Site], the immutable generation that a request pins and uses to its
// end, and swapping it with [Server.SetSite].
package proxy
