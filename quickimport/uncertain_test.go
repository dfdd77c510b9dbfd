package quickimport_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/rawimage"
)

// diedBeforeThePost leaves an import whose process died after it had recorded
// that it would ask for the image, and before it did.
func diedBeforeThePost(t *testing.T, srv *imstest.Server) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ctx, d := dying(t, dir, "submitting", true)
	_, err := cloudClient(t, srv, d.options()...).Import(ctx, quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, errDead)
	require.Zero(t, posts(srv))
	return dir
}

// An image of the right name is not taken for the import's own when something
// speaks against it: the error names it.
func TestImportDoesNotTakeAForeignImageForItsOwn(t *testing.T) {
	tests := map[string]struct {
		key   string
		clock time.Duration // of the service, when the foreign image is made
		want  string
	}{
		"made of another object": {"other.zvhd2", 0, "was made of"},
		"made before":            {"demo-1.zvhd2", -time.Hour, "was made before"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var shift time.Duration
			srv := imstest.NewServer(t, imstest.WithClock(func() time.Time { return time.Now().Add(shift) }))
			dir := diedBeforeThePost(t, srv)
			object, err := srv.ReadObject(srv.Bucket(), "demo-1.zvhd2")
			require.NoError(t, err)
			require.NoError(t, srv.PutObject(srv.Bucket(), "other.zvhd2", strings.NewReader(string(object))))
			shift = tt.clock
			r, err := http.NewRequest(http.MethodPost, srv.IMSEndpoint()+"/v2/cloudimages/quickimport/action",
				strings.NewReader(fmt.Sprintf(`{"name":"demo 1","os_version":"x","image_url":"images:%s","min_disk":10}`, tt.key)))
			require.NoError(t, err)
			r.Header.Set("X-Auth-Token", srv.Token())
			resp, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, 200, resp.StatusCode)
			shift = 0

			for _, opts := range [][]any{nil, {quickimport.WithResubmit()}} {
				opts = append(opts, quickimport.WithStateDir(dir), quickimport.WithSettleTime(0))
				_, err = cloudClient(t, srv, opts...).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
				if len(opts) == 2 {
					require.ErrorIs(t, err, quickimport.ErrUncertain)
					require.ErrorContains(t, err, tt.want)
					require.ErrorContains(t, err, "was kept")
				} else {
					require.ErrorIs(t, err, quickimport.ErrNameTaken)
				}
				require.ErrorContains(t, err, srv.Images()[0].ID)
				require.Len(t, srv.Images(), 1)
				require.Equal(t, 1, posts(srv))
			}
		})
	}
}

// A server error after which the service has acted all the same: whether its
// image is listed at once or only once the name is refused, there is one image.
func TestCreateAfterAServerErrorThatActed(t *testing.T) {
	t.Run("import", func(t *testing.T) {
		srv := imstest.NewServer(t)
		srv.Fail(imstest.Fault{Service: imstest.IMS, Method: http.MethodPost, Drop: true, Status: 504})
		res, err := cloudClient(t, srv).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
		require.NoError(t, err)
		require.Len(t, srv.Images(), 1)
		require.Equal(t, srv.Images()[0].ID, res.ImageID)
		require.Equal(t, 1, posts(srv))
	})
	for name, fault := range map[string]imstest.Fault{
		"listed late after a 504":         {Op: imstest.OpCreate, Drop: true, Status: 504, ListLate: 5},
		"listed late after a 500":         {Op: imstest.OpCreate, Drop: true, Status: 500, ListLate: 5},
		"listed late after a lost answer": {Op: imstest.OpCreate, Drop: true, ListLate: 5},
		"answered with a web page":        {Op: imstest.OpCreate, Drop: true, Status: 200, Shape: imstest.ShapeHTML, ListLate: 2},
		"answered with nothing":           {Op: imstest.OpCreate, Drop: true, Status: 200, Shape: imstest.ShapeEmpty},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			srv.Fail(fault)
			res, err := cloudClient(t, srv, quickimport.WithSettleTime(time.Minute)).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.NoError(t, err)
			require.Len(t, srv.Images(), 1)
			require.Equal(t, srv.Images()[0].ID, res.ImageID)
			require.Equal(t, 1, posts(srv))
		})
	}
	t.Run("never listed", func(t *testing.T) {
		t.Parallel()
		srv := imstest.NewServer(t)
		srv.Fail(imstest.Fault{Op: imstest.OpCreate, Drop: true, Status: 503, ListLate: -1})
		c := cloudClient(t, srv, quickimport.WithStateDir(t.TempDir()), quickimport.WithSettleTime(20*time.Millisecond))
		for range 2 { // nothing is sent again, and what the job reads stays
			res, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.ErrorIs(t, err, quickimport.ErrUncertain)
			require.ErrorContains(t, err, "was kept")
			require.Equal(t, "demo-1.zvhd2", res.Key, "the partial result")
			require.Len(t, srv.Objects(srv.Bucket()), 1)
			require.Equal(t, 1, posts(srv))
		}
		srv.ListImages()
		res, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
		require.NoError(t, err)
		require.Equal(t, srv.Images()[0].ID, res.ImageID)
		require.Len(t, srv.Images(), 1)
	})
}

// An import whose job is not waited for ends with the job's id, and follows
// that job when it is started again.
func TestImportWithoutWaiting(t *testing.T) {
	srv := imstest.NewServer(t, imstest.WithJobDuration(200*time.Millisecond))
	state := quickimport.WithStateDir(t.TempDir())
	noWait := cloudClient(t, srv, state, quickimport.WithWait(false))
	first, err := noWait.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Empty(t, first.ImageID)
	require.Equal(t, srv.Jobs()[0].ID, first.JobID)
	require.NotEqual(t, "SUCCESS", srv.Jobs()[0].Status)
	again, err := noWait.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Equal(t, first.JobID, again.JobID)

	before := sent(srv)
	res, err := cloudClient(t, srv, state).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Equal(t, first.JobID, res.JobID)
	require.Equal(t, srv.Images()[0].ID, res.ImageID)
	require.Equal(t, "active", srv.Images()[0].Status)
	require.Equal(t, []any{before, 1}, []any{sent(srv), posts(srv)})
}

// The image of an import that has ended was removed: it is made again, of the
// object that is there, or of one that is sent again when that is gone too.
func TestImportMakesARemovedImageAgain(t *testing.T) {
	for name, opts := range map[string][]any{"object kept": nil, "object removed": {quickimport.WithDeleteObject()}} {
		t.Run(name, func(t *testing.T) {
			srv := imstest.NewServer(t)
			c := cloudClient(t, srv, append(opts, quickimport.WithStateDir(t.TempDir()))...)
			first, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.NoError(t, err)
			require.Len(t, srv.Objects(srv.Bucket()), 1-len(opts))
			before := sent(srv)
			r, err := http.NewRequest(http.MethodDelete, srv.IMSEndpoint()+"/v2/images/"+first.ImageID, nil)
			require.NoError(t, err)
			r.Header.Set("X-Auth-Token", srv.Token())
			resp, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			resp.Body.Close()
			require.Empty(t, srv.Images())

			second, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.NoError(t, err)
			require.NotEqual(t, first.ImageID, second.ImageID)
			require.NotEqual(t, first.JobID, second.JobID)
			require.Len(t, srv.Images(), 1)
			require.Equal(t, len(opts) == 0, sent(srv) == before)
		})
	}
}

// The object of an import that died was replaced by somebody else's: it is not
// overwritten.
func TestImportKeepsAnObjectThatCameBetween(t *testing.T) {
	srv := imstest.NewServer(t)
	dir := t.TempDir()
	ctx, d := dying(t, dir, "verified", true)
	_, err := cloudClient(t, srv, d.options()...).Import(ctx, quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, errDead)
	require.NoError(t, srv.PutObject(srv.Bucket(), "demo-1.zvhd2", strings.NewReader("another's")))
	state := quickimport.WithStateDir(dir)
	_, err = cloudClient(t, srv, state).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, quickimport.ErrObjectExists)
	object, err := srv.ReadObject(srv.Bucket(), "demo-1.zvhd2")
	require.NoError(t, err)
	require.Equal(t, "another's", string(object))
	_, err = cloudClient(t, srv, state, quickimport.WithOverwrite()).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Len(t, srv.Images(), 1)
}

// A source that changes: while it is sent, the object goes and the record too;
// between two runs, the second begins anew, until something was asked for.
func TestDurableImportOfASourceThatChanges(t *testing.T) {
	data, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	change := func(name string) {
		require.NoError(t, os.WriteFile(name, append([]byte("changed"), data[7:]...), 0o600))
		require.NoError(t, os.Chtimes(name, time.Time{}, time.Now().Add(time.Hour)))
	}
	fresh := func() string {
		name := filepath.Join(t.TempDir(), "disk.raw")
		require.NoError(t, os.WriteFile(name, data, 0o600))
		return name
	}
	t.Run("while it is sent", func(t *testing.T) {
		srv, name, dir := imstest.NewServer(t), fresh(), t.TempDir()
		changed := false
		_, err := cloudClient(t, srv, quickimport.WithStateDir(dir), onProgress(func(e quickimport.Progress) {
			if e.Phase == quickimport.PhaseUpload && !changed {
				changed = true
				change(name)
			}
		})).Import(t.Context(), quickimport.File(name), demo(srv.Bucket()))
		require.ErrorIs(t, err, rawimage.ErrChanged)
		nothingLeft(t, srv)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	})
	for stage, refused := range map[string]bool{"uploaded": false, "verified": false, "submitting": true, "submitted": true} {
		t.Run("after "+stage, func(t *testing.T) {
			srv, name, dir := imstest.NewServer(t), fresh(), t.TempDir()
			ctx, d := dying(t, dir, stage, true)
			_, err := cloudClient(t, srv, d.options()...).Import(ctx, quickimport.File(name), demo(srv.Bucket()))
			require.ErrorIs(t, err, errDead)
			change(name)
			_, err = cloudClient(t, srv, quickimport.WithStateDir(dir), quickimport.WithOverwrite()).Import(t.Context(), quickimport.File(name), demo(srv.Bucket()))
			if refused {
				require.ErrorIs(t, err, quickimport.ErrState)
				return
			}
			require.NoError(t, err)
			require.Equal(t, diskHash(t, open(t, name)), objectDisk(t, srv, "demo-1.zvhd2"))
			require.Len(t, srv.Images(), 1)
		})
	}
}

// A record that cannot be read is not overwritten: an image may have been made.
func TestImportRefusesADamagedRecord(t *testing.T) {
	for name, content := range map[string]string{"not JSON": "{", "empty": "", "another version": `{"version":99,"stage":"uploaded","result":{}}`, "no result": `{"version":3,"stage":"submitted"}`} {
		t.Run(name, func(t *testing.T) {
			srv := imstest.NewServer(t)
			dir := diedBeforeThePost(t, srv)
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			require.NoError(t, err)
			require.Len(t, files, 1)
			require.NoError(t, os.WriteFile(files[0], []byte(content), 0o600))
			_, err = cloudClient(t, srv, quickimport.WithStateDir(dir)).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.ErrorIs(t, err, quickimport.ErrState)
			require.ErrorContains(t, err, strings.TrimSuffix(filepath.Base(files[0]), ".json"))
			require.Empty(t, srv.Images())
		})
	}
}

// WithDeleteObject removes what the import has put there, after success.
func TestImportDeletesItsObjects(t *testing.T) {
	for _, format := range []quickimport.Format{quickimport.FormatZVHD2, quickimport.FormatRaw} {
		t.Run(string(format), func(t *testing.T) {
			srv := imstest.NewServer(t)
			require.NoError(t, srv.PutObject(srv.Bucket(), "demo-1.txt", strings.NewReader("another's")))
			_, err := cloudClient(t, srv, quickimport.WithFormat(format), quickimport.WithDeleteObject()).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
			require.NoError(t, err)
			require.Equal(t, "active", srv.Images()[0].Status)
			require.Len(t, srv.Objects(srv.Bucket()), 1)
			require.Equal(t, "demo-1.txt", srv.Objects(srv.Bucket())[0].Key)
		})
	}
	t.Run("an object that stays is a warning", func(t *testing.T) {
		srv := imstest.NewServer(t)
		c := cloudClient(t, srv, quickimport.WithDeleteObject(), onProgress(func(e quickimport.Progress) {
			if e.Phase == quickimport.PhaseJob {
				srv.ClearFaults()
				srv.Fail(imstest.Fault{Service: imstest.OBS, Method: http.MethodDelete, Status: 403, Code: "AccessDenied", Count: -1})
			}
		}))
		res, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
		require.NoError(t, err)
		require.Contains(t, warningTexts(res.Warnings), "images:demo-1.zvhd2 could not be removed")
	})
	srv := imstest.NewServer(t)
	for _, o := range []quickimport.ImportOption{quickimport.WithWait(false), quickimport.WithAwaitActive(false)} {
		_, err := cloudClient(t, srv, quickimport.WithDeleteObject(), o).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
		require.ErrorIs(t, err, quickimport.ErrOption)
		require.ErrorContains(t, err, "WithDeleteObject")
	}
}

// The deadline of an import passes while the job runs: the job goes on, the
// error says its id, and the same import picks it up again.
func TestImportWhoseDeadlinePasses(t *testing.T) {
	srv := imstest.NewServer(t, imstest.WithJobDuration(700*time.Millisecond))
	state := quickimport.WithStateDir(t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, err := cloudClient(t, srv, state, onProgress(func(e quickimport.Progress) {
		if e.Phase == quickimport.PhaseJob {
			cancel(nil)
		}
	})).Import(ctx, quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, srv.Jobs()[0].ID)
	require.ErrorContains(t, err, "was kept")
	require.Len(t, srv.Objects(srv.Bucket()), 1)
	res, err := cloudClient(t, srv, state).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Equal(t, srv.Jobs()[0].ID, res.JobID)
	require.Len(t, srv.Jobs(), 1)
	js, err := json.Marshal(res)
	require.NoError(t, err)
	require.Contains(t, string(js), `"image_id":"`+srv.Images()[0].ID)
}
