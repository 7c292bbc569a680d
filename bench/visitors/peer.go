package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"

	"github.com/sedge-proxy/sedge/bench/internal/rig"
)

// peerConfig is the cache of bench-peers' nginx.
const peerConfig = `daemon off;
user %[1]s %[2]s;
worker_processes 1;
pid %[3]s/nginx.pid;
error_log %[3]s/error.log error;
events { worker_connections 1024; }
http {
  default_type application/octet-stream;
  access_log off;
  sendfile on; tcp_nopush off; tcp_nodelay on;
  keepalive_timeout 65s; keepalive_requests 100000000;
  client_body_temp_path %[3]s/b; proxy_temp_path %[3]s/p; fastcgi_temp_path %[3]s/f; uwsgi_temp_path %[3]s/u; scgi_temp_path %[3]s/s;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 256k; output_buffers 1 128k; proxy_max_temp_file_size 0;
  open_file_cache max=1000 inactive=1h;
  proxy_cache_path %[3]s/cache keys_zone=v:32m levels=1:2 max_size=1g inactive=1h use_temp_path=off;
  server {
    listen %[4]s backlog=4096;
    location / {
      proxy_pass http://%[5]s;
      proxy_cache v; proxy_cache_key $uri; proxy_cache_valid 200 1h; proxy_cache_lock on;
    }
  }
}
`

// peer is nginx, which keeps the page as the origin sends it.
type peer struct {
	*rig.Process
	address string
}

// startPeer starts nginx; it returns nil where that is not wanted, or not installed.
func startPeer(program, dir, origin string) (*peer, error) {
	if program == "" {
		return nil, nil
	}
	if _, err := exec.LookPath(program); err != nil {
		fmt.Printf("without nginx: %v\n", err)
		return nil, nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	who, err := user.Current()
	if err != nil {
		return nil, err
	}
	with, err := user.LookupGroupId(who.Gid)
	if err != nil {
		return nil, err
	}
	p := &peer{address: rig.FreeAddress()}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, peerConfig, who.Username, with.Name, dir, p.address, origin), 0o600); err != nil {
		return nil, err
	}
	log := filepath.Join(dir, "error.log")
	if p.Process, err = rig.Start(log, program, "-p", dir, "-e", log, "-c", file); err != nil {
		return nil, err
	}
	if err := p.Await(p.address); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// cost returns the CPU time of each request in us.
func (p *peer) cost(visitors []*visitor, requests, conns int) (float64, error) {
	length := len(rig.Page(products))
	return costOf(p.Process, requests, func() error {
		return ask(p.address, visitors, 0, requests, conns, func(_ *visitor, got int, _ []byte) error {
			if got != length {
				return fmt.Errorf("a page of %d bytes in the place of %d", got, length)
			}
			return nil
		})
	})
}
