package command

import (
	"fmt"
	"io"
	"time"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// localCloud is the simulated cloud of import --local. Its objects are in a
// temporary directory, since a disk may be larger than memory; Close removes it.
type localCloud struct {
	srv    *imstest.Server
	stderr io.Writer
}

func newLocalCloud(stderr io.Writer) (*localCloud, error) {
	srv, err := imstest.New()
	if err != nil {
		return nil, err
	}
	return &localCloud{srv, stderr}, nil
}

// options points a client at the cloud.
func (c *localCloud) options() []quickimport.Option {
	return []quickimport.Option{
		quickimport.WithRegion(c.srv.Region()),
		quickimport.WithProjectID(c.srv.ProjectID()),
		quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{
			AccessKey: c.srv.AccessKey(), SecretKey: c.srv.SecretKey(),
		})),
		quickimport.WithIMSEndpoint(c.srv.IMSEndpoint()),
		quickimport.WithOBSEndpoint(c.srv.OBSEndpoint()),
		quickimport.WithIAMEndpoint(c.srv.IAMEndpoint()),
		// The jobs of this cloud end as soon as the object has been read.
		quickimport.WithPolling(20*time.Millisecond, time.Second),
	}
}

func (c *localCloud) Close() {
	if err := c.srv.Close(); err != nil {
		fmt.Fprintf(c.stderr, "fastimage: simulated cloud: %v\n", err)
	}
}
