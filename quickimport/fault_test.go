package quickimport_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// The object is damaged in the bucket after the upload, before the job reads it.
func TestImportOfADamagedObjectFailsAndLeavesNothing(t *testing.T) {
	srv := imstest.NewServer(t)
	var damaged atomic.Bool
	c := cloudClient(t, srv, quickimport.WithProgress(func(e quickimport.Event) {
		if e.Phase == quickimport.PhaseCreate && damaged.CompareAndSwap(false, true) {
			object, err := srv.ReadObject(srv.Bucket(), "demo-1.zvhd2")
			require.NoError(t, err)
			object[4096+48] ^= 0xff // the first payload's magic number
			require.NoError(t, srv.PutObject(srv.Bucket(), "demo-1.zvhd2", strings.NewReader(string(object))))
		}
	}))
	_, err := c.Import(t.Context(), realDisk, demo(srv.Bucket()))
	var failed *quickimport.JobError
	require.ErrorAs(t, err, &failed)
	require.NotEmpty(t, failed.Job.ErrorCode)
	require.NotEmpty(t, failed.Job.FailReason)
	require.Empty(t, srv.Objects(srv.Bucket()))
	require.Empty(t, srv.UnfinishedUploads())
}

func TestImportThroughFaultsOfTheImageService(t *testing.T) {
	const post, get = http.MethodPost, http.MethodGet
	tests := map[string]imstest.Fault{
		"flow control":          imstest.FlowControl("IMG.0060", 2),
		"too many imports":      imstest.FlowControl("IMG.0194", 2),
		"500 before acting":     {Service: imstest.IMS, Method: post, Status: 500, Count: 2},
		"503 for reads":         {Service: imstest.IMS, Method: get, Status: 503, Count: 3},
		"lost answers of reads": {Service: imstest.IMS, Method: get, Drop: true, Nth: 2, Count: 2},
		"project lookup":        {Service: imstest.IAM, Status: 502, Count: 2},
		"500 of the bucket":     {Service: imstest.OBS, Method: post, Status: 500, Count: 2},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			srv.Fail(fault)
			res, err := cloudClient(t, srv).Import(t.Context(), realDisk, demo(srv.Bucket()))
			require.NoError(t, err)
			require.Len(t, srv.Images(), 1)
			require.Equal(t, res.ImageID, srv.Images()[0].ID)
			require.Empty(t, srv.UnfinishedUploads())
		})
	}
}

// A server that answers 500 for ever: what was uploaded is removed again.
func TestImportWhenTheImageServiceNeverRecovers(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Service: imstest.IMS, Method: http.MethodPost, Status: 500, Count: -1})
	_, err := cloudClient(t, srv).Import(t.Context(), realDisk, demo(srv.Bucket()))
	var api *quickimport.APIError
	require.ErrorAs(t, err, &api)
	require.Equal(t, 500, api.StatusCode)
	require.ErrorContains(t, err, "gave up")
	nothingLeft(t, srv)
}

// The answer to the POST is lost after the service has acted: the object is
// kept, nothing is sent twice, and the error says what to look at.
func TestImportWhenTheAnswerIsLost(t *testing.T) {
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Service: imstest.IMS, Method: http.MethodPost, Drop: true})
	_, err := cloudClient(t, srv).Import(t.Context(), realDisk, demo(srv.Bucket()))
	require.ErrorIs(t, err, quickimport.ErrUncertain)
	require.ErrorContains(t, err, "was kept")
	require.Len(t, srv.Jobs(), 1)
	require.Len(t, srv.Objects(srv.Bucket()), 1)
}

func TestImportSourceThatChangesIsRefused(t *testing.T) {
	data, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "disk.raw")
	require.NoError(t, os.WriteFile(name, data, 0o600))
	srv := imstest.NewServer(t)
	var once atomic.Bool
	c := cloudClient(t, srv, quickimport.WithProgress(func(e quickimport.Event) {
		if e.Phase == quickimport.PhaseUpload && once.CompareAndSwap(false, true) {
			require.NoError(t, os.Truncate(name, int64(len(data))+512))
		}
	}))
	_, err = c.Import(t.Context(), name, demo(srv.Bucket()))
	require.ErrorContains(t, err, "changed")
	nothingLeft(t, srv)
}
