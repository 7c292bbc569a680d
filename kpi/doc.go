// Package kpi measures what segments and experiments are worth.
//
// [Goals] say what a conversion is. They are resolved when an event is accepted
// and stored with it, so that a replay of the log gives the same sums under any
// configuration.
//
// A [Row] is what one visitor contributes: sessions by the segment in which they
// began, conversions and revenue in them, and for each experiment the first
// trigger and what came at or after it. [Totals] are the sums over all rows.
// They are kept by taking out what a row contributed before a change and adding
// what it contributes after it, so that no report ever scans the rows. All sums
// are sums of integers, which makes them exact and independent of order.
//
// Visitors whose cookie never came back are unconfirmed: many of them are
// programs that keep no cookies, others are people who left after one page. They
// are summed apart, and a report chooses.
package kpi
