package quickimport_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// childEnv makes the test binary an importing process; its value is the import.
const childEnv = "FASTIMAGE_TEST_IMPORT"

type childImport struct {
	IMS, OBS, IAM, Region, AK, SK, Bucket, Name, State, File string
	Format                                                   quickimport.Format
	Resubmit                                                 bool
}

// exitUncertain is the child's status when the outcome of the create call is unknown.
const exitUncertain = 3

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		os.Exit(runChild(spec))
	}
	quickimport.SetFirstPause(5 * time.Millisecond)
	os.Exit(m.Run())
}

func runChild(spec string) int {
	var c childImport
	err := json.Unmarshal([]byte(spec), &c)
	if err == nil {
		opts := []quickimport.ImportOption{quickimport.WithFormat(c.Format)}
		if c.Resubmit {
			opts = append(opts, quickimport.WithResubmit())
		}
		var client *quickimport.Client
		client, err = quickimport.New(quickimport.WithSettleTime(time.Second), quickimport.WithRegion(c.Region), quickimport.WithIMSEndpoint(c.IMS),
			quickimport.WithOBSEndpoint(c.OBS), quickimport.WithIAMEndpoint(c.IAM), quickimport.WithStateDir(c.State),
			quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{AccessKey: c.AK, SecretKey: c.SK})),
			quickimport.WithPolling(time.Millisecond, 10*time.Millisecond))
		if err == nil {
			_, err = client.Import(context.Background(), quickimport.File(c.File), quickimport.Image{Name: c.Name, OSVersion: "Debian GNU/Linux 12 64bit", Bucket: c.Bucket}, opts...)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, quickimport.ErrUncertain) {
			return exitUncertain
		}
		return 1
	}
	return 0
}

// Imports whose process is killed at random moments, and started again until
// they are done, make one image each, of every kind of source and object. 8
// imports; FASTIMAGE_LONG=1 makes it 100.
func TestImportSurvivesKills(t *testing.T) {
	t.Parallel()
	imports := 8
	if os.Getenv("FASTIMAGE_LONG") == "1" {
		imports = 100
	}
	srv := imstest.NewServer(t, imstest.WithQuota(imports+1))
	all := kinds(t)
	all[0].file = realDisk // beside the synthetic ones
	spec := childImport{IMS: srv.IMSEndpoint(), OBS: srv.OBSEndpoint(), IAM: srv.IAMEndpoint(), Region: srv.Region(),
		AK: srv.AccessKey(), SK: srv.SecretKey(), Bucket: srv.Bucket(), State: t.TempDir()}
	kills, uncertain, objects := 0, 0, 0
	for i := range imports {
		kind := all[i%len(all)]
		spec.Name, spec.File, spec.Format = fmt.Sprintf("killed-%d", i), kind.file, kind.format
		srv.ClearFaults()
		srv.Fail(killFaults[i%len(killFaults)]...)
		k, u := untilDone(t, srv, spec)
		kills, uncertain = kills+k, uncertain+u
		require.Len(t, srv.Images(), i+1)
		source := all[1].file // that of all synthetic kinds
		if i%len(all) == 0 {
			source = realDisk
		}
		require.Equal(t, diskHash(t, open(t, source)), objectDisk(t, srv, spec.Name+"."+string(kind.format)), kind.name)
		objects += kind.objects
	}
	require.Len(t, srv.Objects(srv.Bucket()), objects)
	for _, u := range srv.UnfinishedUploads() { // killed between the creation of an upload and its record
		require.Zero(t, u.Parts)
	}
	require.Positive(t, kills)
	t.Logf("%d imports, %d kills, %d of them just before the create call, %d images", imports, kills, uncertain, len(srv.Images()))
}

// killFaults are what the cloud does besides, to one import after the other.
var killFaults = [][]imstest.Fault{
	nil,
	{{Op: imstest.OpCreate, Drop: true, Status: 504, ListLate: 3}},
	{{Op: imstest.OpJob, Status: 404, Count: 3}, {Op: imstest.OpJob, Quirks: []imstest.Quirk{imstest.QuirkEarlyImageID}, Count: -1}},
	{{Op: imstest.OpCreate, Drop: true, ListLate: 2}, {Op: imstest.OpImages, Status: 503, Nth: 3}},
	{{Op: imstest.OpCreate, Status: 429, Code: "APIGW.0308"}, {Op: imstest.OpJob, Status: 200, Shape: imstest.ShapeHTML}},
}

// untilDone runs an import and kills it, the first time within the time that a
// whole one takes and later and later, until one ends by itself. A process that
// died just before the create call leaves what no program can decide; then the
// test does as the error says and looks for the image and its job.
func untilDone(t *testing.T, srv *imstest.Server, c childImport) (kills, uncertain int) {
	t.Helper()
	for longest := 120 * time.Millisecond; ; longest = longest * 5 / 4 {
		spec, err := json.Marshal(c)
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+string(spec))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		timer := time.AfterFunc(rand.N(longest), func() { cmd.Process.Kill() })
		err = cmd.Wait()
		timer.Stop()
		switch code := cmd.ProcessState.ExitCode(); {
		case err == nil:
			return kills, uncertain
		case code == exitUncertain:
			for _, img := range srv.Images() {
				require.NotEqual(t, c.Name, img.Name, "the import did not find its own image: %s", stderr.String())
			}
			uncertain++
			c.Resubmit = true
		default:
			require.Equal(t, -1, code, "it was not killed but failed: %s", stderr.String())
			c.Resubmit = false
			kills++
		}
	}
}
