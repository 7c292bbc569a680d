package proxy

import (
	"bytes"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"
)

// splitTarget takes a checked request target apart. The authority is empty unless
// the target has the absolute form. fasthttp is not asked: it takes what follows
// "//" for a host, and "//a/b?c=http://d" is a path.
func splitTarget(target []byte) (authority, path, query []byte) {
	if len(target) > 0 && target[0] != '/' && target[0] != '*' {
		_, target, _ = bytes.Cut(target, []byte("://"))
		end := bytes.IndexAny(target, "/?")
		if end < 0 {
			end = len(target)
		}
		authority, target = target[:end], target[end:]
	}
	path, query, _ = bytes.Cut(target, []byte{'?'})
	return authority, path, query
}

// isPlainPath reports whether a path is what readPath would make of it.
func isPlainPath(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '/' {
		return false
	}
	for i, b := range raw {
		if b == '%' || b == '\\' || (b == '.' || b == '/') && i > 0 && raw[i-1] == '/' {
			return false
		}
	}
	return true
}

// readPath returns a path decoded, without dot segments and doubled slashes.
func readPath(uri *fasthttp.URI, raw []byte) string {
	uri.SetPathBytes(raw)
	return string(uri.Path())
}

// otherReadings returns what other servers may take a path for, if that is not
// plain: with encoded slashes left alone, with nothing removed, and with everything
// removed that some framework removes.
func otherReadings(raw []byte, path string) []string {
	if string(raw) == path && !strings.ContainsAny(path, `;\`) {
		return nil
	}
	var uri fasthttp.URI
	text := string(raw)
	encoded := strings.NewReplacer("%2f", "%252F", "%2F", "%252F", "%5c", "%255C", "%5C", "%255C")
	literal := unescapePath(text)
	widest := strings.ReplaceAll(unescapePath(literal), `\`, "/")
	segments := strings.Split(widest, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return []string{
		readPath(&uri, []byte(encoded.Replace(text))), literal, readPath(&uri, []byte(strings.Join(segments, "/"))),
	}
}

func unescapePath(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}
