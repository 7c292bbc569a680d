package proxy

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

// serveVariant answers from memory if a page for the same plan is there: no
// origin, no plugin, no rewriting.
func (x *exchange) serveVariant() bool {
	x.consider()
	if !x.lookup.usable || x.lookup.refresh {
		x.server.stats.CacheBypass.Add(1)
		return false
	}
	now := x.server.now()
	hit := x.server.variants.Get(x.key, now)
	if hit == nil || x.minted != "" && !isHTML(hit.Header.ContentType()) { // see noPage
		x.server.stats.CacheMisses.Add(1)
		return false
	}
	var filled *filledVariant
	if hit.Holes != nil {
		if filled = x.fill(hit); filled == nil {
			x.server.stats.CacheMisses.Add(1)
			return false
		}
	}
	x.server.stats.CacheHits.Add(1)
	x.lookup.hit = hit
	x.respondVariant(hit, filled, now)
	return true
}

// consider says whether the cache may be used, and makes the key.
func (x *exchange) consider() {
	refresh, noStore := wantsFresh(x)
	h := &x.ctx.Request.Header
	x.lookup.refresh = refresh
	x.lookup.usable = x.server.variants != nil && !noStore &&
		x.header(fasthttp.HeaderAuthorization) == nil && h.ContentLength() <= 0 && h.ContentLength() != -1
	if x.lookup.usable {
		x.makeKey()
	}
}

// makeKey gathers all that the answer depends on. The parts are parted by NUL,
// which none of them can hold, or have a fixed length.
func (x *exchange) makeKey() {
	key := append(x.key[:0], x.route.upstream.Name()...)
	key = append(key, 0)
	key = append(key, x.scheme...)
	key = append(key, 0)
	key = append(key, x.host...)
	key = append(key, 0)
	key = x.appendTarget(key)
	key = append(key, 0)
	for _, header := range x.plan.Action.Headers {
		key = append(key, header[0]...)
		key = append(key, ':')
		key = append(key, header[1]...)
		key = append(key, 0)
	}
	key = append(key, 0)
	if x.acceptsGzip() {
		key = append(key, 1) // the origin may show another page to those who do not
	} else {
		key = append(key, 0)
	}
	key = append(key, byte(x.kind.parts)) // nor need it be the same to a script
	key = append(key, x.plan.Digest[:]...)
	x.key = binary.LittleEndian.AppendUint64(key, x.site.Generation)
}

// appendTarget appends the request target as the origin gets it.
func (x *exchange) appendTarget(dst []byte) []byte {
	if path := x.plan.Action.Path; path != "" {
		dst = append(dst, path...)
		if x.page.Query != "" {
			dst = append(append(dst, '?'), x.page.Query...)
		}
		return dst
	}
	return append(dst, x.ctx.Request.Header.RequestURI()...)
}

// acceptsGzip reports whether the client takes gzip.
func (x *exchange) acceptsGzip() bool {
	list := x.header(fasthttp.HeaderAcceptEncoding)
	for len(list) > 0 {
		item, rest, _ := bytes.Cut(list, []byte{','})
		list = rest
		coding, quality, _ := bytes.Cut(item, []byte{';'})
		coding = trimSpace(coding)
		if !equalFold(coding, "gzip") && !equalFold(coding, "x-gzip") && string(coding) != "*" {
			continue
		}
		return !isZeroQuality(trimSpace(quality))
	}
	return false
}

func isZeroQuality(parameter []byte) bool {
	name, value, ok := bytes.Cut(parameter, []byte{'='})
	if !ok || !equalFold(trimSpace(name), "q") {
		return false
	}
	value = trimSpace(value)
	return len(value) > 0 && value[0] == '0' && len(bytes.Trim(value, "0.")) == 0
}

// respondVariant answers with a stored page, filled for the visitor if it has slots.
func (x *exchange) respondVariant(v *cache.Variant, filled *filledVariant, now time.Time) {
	resp := &x.ctx.Response
	v.Header.CopyTo(&resp.Header)
	x.setStatusHeaders(&resp.Header, "hit; ttl="+strconv.FormatInt(int64(v.TTL(now)/time.Second), 10))
	x.scratch = strconv.AppendInt(x.scratch[:0], int64(v.AgeAt(now)/time.Second), 10)
	resp.Header.SetBytesV(fasthttp.HeaderAge, x.scratch)
	x.giveCookie(&resp.Header)
	if applies(x.plan) {
		x.server.stats.Personalized.Add(1)
	}
	body, first := v.Body, v.First
	if filled != nil {
		body, first = filled.body, filled.first
		resp.Header.Set(fasthttp.HeaderETag, filled.etag(resp.Header.Peek(fasthttp.HeaderETag)))
	}
	if x.matchesETag(resp.Header.Peek(fasthttp.HeaderETag)) {
		x.notModified(resp)
		x.recordAtOnce(v, first)
		return
	}
	switch {
	case !x.acceptsGzip() || len(body) < minGzip:
	case filled != nil:
		body = x.server.pack(body)
		resp.Header.SetContentEncoding("gzip")
	default:
		if packed := x.server.variants.Gzip(x.key, v, compress); packed != nil {
			body = packed
			resp.Header.SetContentEncoding("gzip")
		}
	}
	if x.ctx.IsHead() {
		resp.SkipBody = true
		resp.Header.SetContentLength(len(body))
	} else {
		resp.SetBodyRaw(body)
		x.down.join()
	}
	x.recordAtOnce(v, first)
}

// minGzip is the size below which compressing gains nothing.
const minGzip = 256

// gzipLevel is for pages that are packed while somebody waits.
const gzipLevel = 5

func compress(body []byte) []byte {
	var packed bytes.Buffer
	packed.Grow(len(body) / 3)
	w, err := gzip.NewWriterLevel(&packed, gzipLevel)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	// A bytes.Buffer takes everything.
	_, _ = w.Write(body)
	_ = w.Close()
	return bytes.Clone(packed.Bytes())
}

// matchesETag reports whether the client has this very answer, by the weak
// comparison of RFC 9110 section 13.1.2.
func (x *exchange) matchesETag(etag []byte) bool {
	if len(etag) == 0 {
		return false
	}
	etag = bytes.TrimPrefix(etag, []byte("W/"))
	for i := range x.fields {
		f := &x.fields[i]
		if !equalFold(f.name, fasthttp.HeaderIfNoneMatch) {
			continue
		}
		for list := f.value; len(list) > 0; {
			var item []byte
			item, list, _ = bytes.Cut(list, []byte{','})
			if item = bytes.TrimPrefix(trimSpace(item), []byte("W/")); bytes.Equal(item, etag) || string(item) == "*" {
				return true
			}
		}
	}
	return false
}

// notModified turns an answer into a 304: what describes the body goes.
func (x *exchange) notModified(resp *fasthttp.Response) {
	resp.SetStatusCode(fasthttp.StatusNotModified)
	resp.Header.SetContentType("")
	resp.Header.SetNoDefaultContentType(true)
	resp.Header.Del(fasthttp.HeaderContentLength)
	resp.SkipBody = true
}
