package upstream

import "github.com/valyala/fasthttp"

// introduce makes the request name the site by the server's host, also in headers
// where the client names it: an origin compares them with Host to tell its own pages
// from strangers'. X-Forwarded-Host goes where Origin was changed, since some
// compare it with that.
func (t *tries) introduce() {
	h, secure := &t.req.Header, t.to.origin.secure
	scheme := t.opts.Scheme
	if secure {
		scheme = "https"
	}
	from, fromScheme := t.as, scheme
	if from == "" {
		from, fromScheme = t.opts.Host, t.opts.Scheme
	}
	changed := false
	if from != "" {
		for i, name := range naming {
			rest, ok := cutSite(h.Peek(name), fromScheme, from)
			if !ok {
				continue
			}
			h.SetBytesV(name, append([]byte(scheme+"://"+t.to.host), rest...))
			changed = changed || i < 2
		}
	}
	if changed {
		h.Del(fasthttp.HeaderXForwardedHost)
	}
	h.Set(fasthttp.HeaderHost, t.to.host)
	t.as = t.to.host
}

// naming are the headers that may name the site, Origin first, as they are spelled
// in HTTP/1.1 and in HTTP/2. To look at all headers would change them: fasthttp
// sorts cookies out then.
var naming = [...]string{"Origin", "origin", "Referer", "referer", "Destination", "destination"}

// cutSite returns what follows scheme and host in a URL that has these.
func cutSite(url []byte, scheme, host string) (rest []byte, ok bool) {
	at := len(scheme) + len("://")
	end := at + len(host)
	if len(url) < end || !hasPrefixFold(url, scheme) || string(url[len(scheme):at]) != "://" || !equalFold(url[at:end], host) {
		return nil, false
	}
	rest = url[end:]
	return rest, len(rest) == 0 || rest[0] == '/' || rest[0] == '?' || rest[0] == '#'
}
