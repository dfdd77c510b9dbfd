package quickimport_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
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
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

var errDead = errors.New("the process is dead")

// death ends an import as the end of its process would: from one moment on
// nothing is saved and nothing is sent any more.
type death struct {
	uploader.Store
	stage string // at whose record it comes
	after bool   // once that is saved, not before
	end   context.CancelFunc
	dead  atomic.Bool
}

// dying gives options for an import that dies at the record of a stage.
func dying(t *testing.T, dir, stage string, after bool) (context.Context, *death) {
	t.Helper()
	store, err := uploader.NewFileStore(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, &death{Store: store, stage: stage, after: after, end: cancel}
}

func (d *death) options() []any {
	return []any{quickimport.WithStore(d), quickimport.WithTransport(d)}
}

func (d *death) Save(ctx context.Context, name string, data []byte) error {
	var rec struct{ Stage string }
	if err := json.Unmarshal(data, &rec); err != nil {
		return err
	}
	if d.dead.Load() || rec.Stage == d.stage && !d.after {
		return d.die()
	}
	if err := d.Store.Save(ctx, name, data); err != nil || rec.Stage != d.stage {
		return err
	}
	return d.die()
}

func (d *death) die() error {
	d.dead.Store(true)
	d.end()
	return errDead
}

func (d *death) Remove(ctx context.Context, name string) error {
	if d.dead.Load() {
		return errDead
	}
	return d.Store.Remove(ctx, name)
}

func (d *death) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.dead.Load() {
		return nil, errDead
	}
	return http.DefaultTransport.RoundTrip(r)
}

// sent is how many bytes of the bodies of objects a server got, probes left out.
func sent(srv *imstest.Server) (n int64) {
	for _, r := range srv.Requests() {
		if r.Service == imstest.OBS && r.Method == http.MethodPut && !strings.HasSuffix(r.Path, probe) {
			n += r.Length
		}
	}
	return n
}

func posts(srv *imstest.Server) (n int) {
	for _, r := range srv.Requests() {
		if r.Service == imstest.IMS && r.Method == http.MethodPost {
			n++
		}
	}
	return n
}

// objectDisk is the hash of the disk in an object.
func objectDisk(t *testing.T, srv *imstest.Server, key string) [32]byte {
	t.Helper()
	object, err := srv.ReadObject(srv.Bucket(), key)
	require.NoError(t, err)
	if strings.HasSuffix(key, ".raw") {
		return sha256.Sum256(object)
	}
	zr, err := zvhd2.NewReader(bytes.NewReader(object), int64(len(object)))
	require.NoError(t, err)
	return diskHash(t, io.NewSectionReader(zr, 0, zr.Size()))
}

// kind is a way in which a disk goes into the bucket.
type kind struct {
	name, file string
	format     quickimport.Format
	key        string
	objects    int
}

// kinds are all of them, of the same disk.
func kinds(t *testing.T) []kind {
	t.Helper()
	dir := t.TempDir()
	data := append(noise(3<<20), make([]byte, 9<<20+512)...)
	var packed, container bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = zvhd2.Encode(t.Context(), &container, bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	save := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, b, 0o600))
		return p
	}
	raw := save("disk.raw", data)
	return []kind{
		{"zvhd2", raw, quickimport.FormatZVHD2, "demo-1.zvhd2", 1},
		{"raw and mf", raw, quickimport.FormatRaw, "demo-1.raw", 2},
		{"compressed stream", save("disk.raw.gz", packed.Bytes()), quickimport.FormatZVHD2, "demo-1.zvhd2", 1},
		{"container", save("disk.zvhd2", container.Bytes()), quickimport.FormatZVHD2, "demo-1.zvhd2", 1},
	}
}

// An import that dies before or after the record of each of its stages goes on
// when it is started again: what was sent is not sent again, one image.
func TestImportGoesOnFromEachStage(t *testing.T) {
	all := kinds(t)
	want := diskHash(t, open(t, all[0].file))
	stages := []struct {
		name      string
		after     bool
		uploaded  bool // all of the object was there, and that was known
		uncertain bool // nobody can know whether the service was asked
		lost      bool // the job's id is not known
	}{
		{"uploading", false, false, false, false},
		{"uploading", true, false, false, false},
		{"uploaded", false, false, false, false}, // between the end of the upload and its record
		{"uploaded", true, true, false, false},
		{"verified", false, true, false, false},
		{"verified", true, true, false, false},
		{"submitting", false, true, false, false},
		{"submitting", true, true, true, false},
		{"submitted", false, true, false, true},
		{"submitted", true, true, false, false},
		{"finished", false, true, false, false},
		{"finished", true, true, false, false},
	}
	for _, k := range all {
		for _, s := range stages {
			if k.name != "zvhd2" && !s.after && s.name != "submitted" {
				continue // what is not recorded yet is the same for all kinds
			}
			t.Run(k.name+"/"+s.name+map[bool]string{true: " saved", false: " not saved"}[s.after], func(t *testing.T) {
				t.Parallel()
				srv := imstest.NewServer(t)
				dir := t.TempDir()
				opts := []any{quickimport.WithFormat(k.format), quickimport.WithSettleTime(20 * time.Millisecond)}
				ctx, d := dying(t, dir, s.name, s.after)
				_, err := cloudClient(t, srv, append(opts, d.options()...)...).Import(ctx, quickimport.File(k.file), demo(srv.Bucket()))
				require.ErrorIs(t, err, errDead)
				bytesBefore := sent(srv)

				opts = append(opts, quickimport.WithStateDir(dir))
				res, err := cloudClient(t, srv, opts...).Import(t.Context(), quickimport.File(k.file), demo(srv.Bucket()))
				if s.uncertain {
					require.ErrorIs(t, err, quickimport.ErrUncertain)
					require.ErrorContains(t, err, `"demo 1"`)
					require.Empty(t, srv.Images())
					require.Len(t, srv.Objects(srv.Bucket()), k.objects)
					res, err = cloudClient(t, srv, append(opts, quickimport.WithResubmit())...).Import(t.Context(), quickimport.File(k.file), demo(srv.Bucket()))
				}
				require.NoError(t, err)
				require.Len(t, srv.Images(), 1)
				require.Equal(t, srv.Images()[0].ID, res.ImageID)
				require.Equal(t, 1, posts(srv))
				require.Equal(t, s.lost, res.JobID == "")
				require.Len(t, srv.Objects(srv.Bucket()), k.objects)
				require.Empty(t, srv.UnfinishedUploads())
				require.Equal(t, want, objectDisk(t, srv, k.key))
				if s.uploaded {
					require.Equal(t, bytesBefore, sent(srv), "nothing is sent twice")
				}
				again, err := cloudClient(t, srv, opts...).Import(t.Context(), quickimport.File(k.file), demo(srv.Bucket()))
				require.NoError(t, err)
				require.Equal(t, res, again, "an import that has ended gives its result again")
				require.Len(t, srv.Images(), 1)
			})
		}
	}
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// An upload that is cut in its middle goes on with the parts that are missing.
func TestImportGoesOnWithinTheUpload(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "random.raw")
	require.NoError(t, os.WriteFile(name, noise(30<<20), 0o600))
	for _, format := range []quickimport.Format{quickimport.FormatZVHD2, quickimport.FormatRaw} {
		t.Run(string(format), func(t *testing.T) {
			srv := imstest.NewServer(t)
			// Slow enough for the progress to be seen in the middle.
			srv.Fail(imstest.Fault{Service: imstest.OBS, Method: http.MethodPut, Query: "partNumber", Count: -1, Delay: 400 * time.Millisecond})
			dir := t.TempDir()
			ctx, d := dying(t, dir, "none", false)
			opts := []any{quickimport.WithFormat(format), quickimport.WithPartSize(5 << 20), quickimport.WithConcurrency(1), quickimport.WithSettleTime(0)}
			_, err := cloudClient(t, srv, append(append(opts, d.options()...), onProgress(func(e quickimport.Progress) {
				if e.Phase == quickimport.PhaseUpload && e.Sent >= 12<<20 && !d.dead.Load() {
					_ = d.die()
				}
			}))...).Import(ctx, quickimport.File(name), demo(srv.Bucket()))
			require.Error(t, err)
			require.Len(t, srv.UnfinishedUploads(), 1)
			require.GreaterOrEqual(t, srv.UnfinishedUploads()[0].Parts, 2)
			srv.ClearFaults()
			var last quickimport.Progress
			opts = append(opts, quickimport.WithStateDir(dir), onProgress(func(e quickimport.Progress) {
				if e.Phase == quickimport.PhaseUpload {
					last = e
				}
			}))
			res, err := cloudClient(t, srv, opts...).Import(t.Context(), quickimport.File(name), demo(srv.Bucket()))
			require.NoError(t, err)
			require.Equal(t, diskHash(t, open(t, name)), objectDisk(t, srv, res.Key))
			require.GreaterOrEqual(t, last.Resumed, int64(10<<20))
			require.Equal(t, res.ObjectBytes, last.Resumed+last.Sent, "what is there is counted")
			require.LessOrEqual(t, sent(srv), res.ObjectBytes+6<<20, "at most the part that was under way is sent twice")
			require.Empty(t, srv.UnfinishedUploads())
			require.Len(t, srv.Images(), 1)
		})
	}
}
