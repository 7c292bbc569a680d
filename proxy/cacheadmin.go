package proxy

import (
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

// Cache is what an operator may do with what is kept of the origin's answers; see
// [cache.Objects]. A host is in lower case and with its port, a target is the path with the
// query, as visitors ask for it.
type Cache interface {
	// PurgeURL also purges what the route of the URL keeps it as, without the parameters
	// that do not count there.
	PurgeURL(host, target string, how cache.Purge) (concerned int)
	PurgePrefix(host, prefix string, how cache.Purge)
	PurgeTag(tag string, how cache.Purge)
	PurgeAll(how cache.Purge) (dropped int)
	List(prefix string, limit int) (listed []cache.Listed, more bool)
	Usage() cache.Usage
}

// Cache returns what is kept of the origin's answers; nil if nothing is. It outlives
// reloads.
func (s *Server) Cache() Cache {
	if s.objects == nil {
		return nil // and no interface around a nil pointer, which would not compare as nil
	}
	return routedCache{s.objects, s}
}

// routedCache knows the targets of the site's routes.
type routedCache struct {
	*objects
	server *Server
}

func (c routedCache) PurgeURL(host, target string, how cache.Purge) (concerned int) {
	// What was kept before the route left parameters out is purged as well.
	concerned = c.objects.PurgeURL(host, target, how)
	if kept := c.server.keptAs(host, target); kept != target {
		concerned += c.objects.PurgeURL(host, kept, how)
	}
	return concerned
}

// keptAs returns a target as what is kept for it is named on the route that it leads to now.
func (s *Server) keptAs(host, target string) string {
	site := s.site.Load()
	if site == nil {
		return target
	}
	var uri fasthttp.URI
	path, _, _ := strings.Cut(target, "?")
	if r := site.find(withoutPort(host), readPath(&uri, []byte(path))); r != nil {
		return r.cache.keptAs(target)
	}
	return target
}
