package uploader_test

import (
	"testing"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

// TestConformanceImstest runs the suite against the embedded test cloud, which
// refuses what OBS refuses.
func TestConformanceImstest(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	conformance(t, site{
		endpoint: srv.OBSEndpoint(), region: srv.Region(), ak: srv.AccessKey(), sk: srv.SecretKey(),
		bucket: srv.Bucket(),
	})
}
