package jobqueue

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/resolver"
)

// checkTarget refuses what is surely no address of a server. What gRPC's own schemes say is for their resolvers to read.
func checkTarget(target string) error {
	const right = "must be HOST:PORT, such as 127.0.0.1:50051"
	switch lower := strings.ToLower(target); {
	case strings.HasPrefix(lower, "http://"), strings.HasPrefix(lower, "https://"):
		return invalid("target", right+", without http://")
	case strings.Contains(target, "://"):
		return nil
	}
	if parsed, err := url.Parse(target); err == nil && parsed.Scheme != "" && resolver.Get(parsed.Scheme) != nil {
		return nil // as unix:/run/jobqueue.sock
	}
	_, port, err := net.SplitHostPort(target)
	if number, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil || number == 0 {
		return invalid("target", right)
	}
	return nil
}
