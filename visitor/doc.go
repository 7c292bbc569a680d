// Package visitor says who makes a request: the visitor's id in a signed
// first-party cookie, and whether there is a visitor at all (bots, prefetches,
// people who do not want a profile).
//
// An id is 128 random bits that Sedge chose. The cookie carries it as
//
//	v1.<id>.<mac>
//
// where id and mac are unpadded base64url and the mac is HMAC-SHA256 over
// "v1.<id>", cut to 128 bits. So a client cannot choose an id: a forged or
// damaged cookie is a new visitor, and nobody can plant an id on somebody else
// that Sedge did not give out. Keys rotate: the first key signs, all keys verify.
//
// What a request says about itself (device, language, campaign) is read by
// package attributes below this one.
package visitor
