package quickimport_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// The object is damaged in the bucket after the upload, before the job reads it.
func TestImportOfADamagedObjectFailsAndLeavesNothing(t *testing.T) {
	srv := imstest.NewServer(t)
	var damaged atomic.Bool
	c := cloudClient(t, srv, onProgress(func(e quickimport.Progress) {
		if e.Phase == quickimport.PhaseCreate && damaged.CompareAndSwap(false, true) {
			object, err := srv.ReadObject(srv.Bucket(), "demo-1.zvhd2")
			require.NoError(t, err)
			object[4096+48] ^= 0xff // the first payload's magic number
			require.NoError(t, srv.PutObject(srv.Bucket(), "demo-1.zvhd2", strings.NewReader(string(object))))
		}
	}))
	_, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
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
		"gateway's control":     {Op: imstest.OpCreate, Status: 429, Code: "APIGW.0308", Count: 2},
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
			res, err := cloudClient(t, srv).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.NoError(t, err)
			require.Len(t, srv.Images(), 1)
			require.Equal(t, res.ImageID, srv.Images()[0].ID)
			require.Empty(t, srv.UnfinishedUploads())
		})
	}
}

// A server that answers 500 for ever may have acted each time: nothing is sent
// again, and what a job may need stays.
func TestImportWhenTheImageServiceNeverRecovers(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Service: imstest.IMS, Method: http.MethodPost, Status: 500, Count: -1})
	_, err := cloudClient(t, srv, quickimport.WithSettleTime(20*time.Millisecond)).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, quickimport.ErrUncertain)
	var api *quickimport.APIError
	require.ErrorAs(t, err, &api)
	require.Equal(t, 500, api.StatusCode)
	require.Equal(t, 1, posts(srv))
	require.Len(t, srv.Objects(srv.Bucket()), 1)
}

// The answer to the POST is lost after the service has acted: nothing is sent
// twice, and the image is found by its name.
func TestImportWhenTheAnswerIsLost(t *testing.T) {
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Service: imstest.IMS, Method: http.MethodPost, Drop: true})
	res, err := cloudClient(t, srv).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Len(t, srv.Images(), 1)
	require.Equal(t, srv.Images()[0].ID, res.ImageID)
	require.Len(t, srv.Jobs(), 1)
	require.Empty(t, res.JobID)
}

// The connection breaks before the service has acted, which the client cannot
// know: it asks nobody to make a second image, and says what to look at.
func TestImportWhenTheOutcomeIsUnknown(t *testing.T) {
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Service: imstest.IMS, Method: http.MethodPost, DropBefore: true})
	state := quickimport.WithStateDir(t.TempDir())
	settle := quickimport.WithSettleTime(20 * time.Millisecond)
	for range 2 { // the second run finds the record and still sends nothing
		_, err := cloudClient(t, srv, state, settle).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
		require.ErrorIs(t, err, quickimport.ErrUncertain)
		require.ErrorContains(t, err, "was kept")
		require.Empty(t, srv.Jobs())
		require.Len(t, srv.Objects(srv.Bucket()), 1)
	}
	res, err := cloudClient(t, srv, state, quickimport.WithResubmit()).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Len(t, srv.Images(), 1)

	again, err := cloudClient(t, srv, state).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err, "an import that has ended gives its result again")
	require.Equal(t, res.ImageID, again.ImageID)
	require.Len(t, srv.Images(), 1)
}

func TestImportSourceThatChangesIsRefused(t *testing.T) {
	data, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "disk.raw")
	require.NoError(t, os.WriteFile(name, data, 0o600))
	srv := imstest.NewServer(t)
	var once atomic.Bool
	c := cloudClient(t, srv, onProgress(func(e quickimport.Progress) {
		if e.Phase == quickimport.PhaseUpload && once.CompareAndSwap(false, true) {
			require.NoError(t, os.Truncate(name, int64(len(data))+512))
		}
	}))
	_, err = c.Import(t.Context(), quickimport.File(name), demo(srv.Bucket()))
	require.ErrorContains(t, err, "changed")
	nothingLeft(t, srv)
}

// Imports through random faults of the image service, the lost answer to the
// create call among them, make one image each. 20 imports; FASTIMAGE_LONG=1
// makes it 200.
func TestImportThroughRandomFaults(t *testing.T) {
	t.Parallel()
	imports := 20
	if os.Getenv("FASTIMAGE_LONG") == "1" {
		imports = 200
	}
	const post, get = http.MethodPost, http.MethodGet
	faults := []imstest.Fault{
		{Op: imstest.OpCreate, Drop: true, ListLate: 3},
		{Op: imstest.OpCreate, Drop: true, Status: 500, ListLate: 3},
		{Op: imstest.OpCreate, Drop: true, Status: 503},
		{Op: imstest.OpCreate, Drop: true, Status: 504, Shape: imstest.ShapeHTML, ListLate: 6},
		{Op: imstest.OpCreate, Status: 429, Code: "APIGW.0308"},
		{Op: imstest.OpJob, Status: 404, Count: 2},
		{Op: imstest.OpJob, Quirks: []imstest.Quirk{imstest.QuirkNoImageID}, Count: -1},
		{Op: imstest.OpJob, Quirks: []imstest.Quirk{imstest.QuirkSubJobImageID, imstest.QuirkPercentFraction}, Count: -1},
		{Op: imstest.OpJob, Quirks: []imstest.Quirk{imstest.QuirkEarlyImageID, imstest.QuirkEntitiesList}, Count: -1},
		{Op: imstest.OpJob, Status: 200, Shape: imstest.ShapeHTML, Nth: 2},
		imstest.FlowControl("IMG.0060", 2),
		{Service: imstest.IMS, Method: get, Status: 500},
		{Service: imstest.IMS, Method: get, Drop: true},
		{Service: imstest.IMS, Method: get, DropBefore: true, Count: 2},
		{Service: imstest.IMS, Method: get, Delay: 20 * time.Millisecond},
		{Service: imstest.IAM, Status: 503},
		{Service: imstest.IAM, Drop: true},
	}
	srv := imstest.NewServer(t, imstest.WithQuota(imports))
	rng := rand.New(rand.NewPCG(1, uint64(imports)))
	lost := 0
	for i := range imports {
		srv.ClearFaults()
		var set []imstest.Fault
		for range 1 + rng.IntN(3) {
			f := faults[rng.IntN(len(faults))]
			set = append(set, f)
			if f.Method == get {
				f.Nth = 1 + rng.IntN(4)
			}
			if f.Drop && f.Op == imstest.OpCreate {
				lost++
			}
			srv.Fail(f)
		}
		img := demo(srv.Bucket())
		img.Name = fmt.Sprintf("faulty-%d", i)
		res, err := cloudClient(t, srv, quickimport.WithSettleTime(time.Minute)).Import(t.Context(), quickimport.File(realDisk), img)
		require.NoError(t, err, "import %d, %+v", i, set)
		require.NotEmpty(t, res.ImageID)
	}
	require.Len(t, srv.Images(), imports)
	require.Positive(t, lost)
	t.Logf("%d imports, %d answers to the create call set to be lost, %d images", imports, lost, len(srv.Images()))
}
