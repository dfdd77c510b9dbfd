package command

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// testCloud is a cloud in this process, for the command in its own.
func testCloud(t *testing.T, opts ...imstest.Option) (*imstest.Server, []string) {
	t.Helper()
	srv := imstest.NewServer(t, opts...)
	return srv, []string{
		"HUAWEICLOUD_SDK_AK=" + srv.AccessKey(), "HUAWEICLOUD_SDK_SK=" + srv.SecretKey(), "HW_REGION_NAME=" + srv.Region(),
		"FASTIMAGE_IMS_ENDPOINT=" + srv.IMSEndpoint(), "FASTIMAGE_OBS_ENDPOINT=" + srv.OBSEndpoint(), "FASTIMAGE_IAM_ENDPOINT=" + srv.IAMEndpoint(),
		"FASTIMAGE_BUCKET=" + srv.Bucket(),
	}
}

var toCloud = []string{"import", "--name", "demo", "--os-version", "Debian GNU/Linux 12 64bit"}

// jobFailure makes the next job fail.
var jobFailure = imstest.Fault{Service: imstest.IMS, Method: "POST", JobCode: "IMG.0057", JobReason: "The file is damaged."}

// The statuses that scripts rely on.
func TestExitStatuses(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	run := func(args ...string) result { return fastimage(t, env, args...) }
	r := run(append(toCloud, disk)...)
	require.Equal(t, exitDone, r.code, r.stderr)
	require.Regexp(t, imageID, r.stdout)
	requireError(t, run("job", srv.Jobs()[0].ID+"x"), exitFailed, "IMG.0027")
	requireError(t, run("job"), exitUsage, "usage")
	requireError(t, run("create", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", "images/demo.zvhd2"), exitUsage, "obs://BUCKET/KEY")
	requireRefused(t, run(append(toCloud, disk, "--key", "other.zvhd2")...), `name "demo"`, "IMG.0009")
	requireRefused(t, run("create", "--name", "x", "--os-version", "Debian GNU/Linux 12 64bit", "obs://images/none"), "IMG.0121")
	srv.Fail(jobFailure)
	requireError(t, run("import", "--name", "fails", "--os-version", "Debian GNU/Linux 12 64bit", disk), exitJobFailed, "IMG.0057 The file is damaged.")
	srv.Fail(jobFailure)
	requireError(t, run("create", "--name", "fails", "--os-version", "Debian GNU/Linux 12 64bit", "obs://images/demo.zvhd2"), exitJobFailed, "IMG.0057")
	require.Len(t, srv.Objects("images"), 1, "create keeps the object")
}

// Ctrl-C while the job runs says which job goes on.
func TestImportInterruptedWhileTheJobRuns(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t, imstest.WithJobDuration(time.Hour))
	r := interrupted(t, env, "job: 0%", append(toCloud, disk)...)
	requireError(t, r, exitInterrupted, "interrupted", srv.Jobs()[0].ID)
	require.Len(t, srv.Objects("images"), 1)
}

func TestImportDryRun(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"zvhd2", "raw"} {
		t.Run(format, func(t *testing.T) {
			srv, env := testCloud(t)
			state := t.TempDir()
			args := append(toCloud, "--dry-run", "--format", format, "--state-dir", state, disk)
			r := fastimage(t, env, args...)
			require.Zero(t, r.code, r.stderr)
			for _, want := range []string{"source   ", "object   images/demo." + format, "upload   at most ", "image    demo, min disk 10GiB", "all checks passed; nothing was uploaded (dry run)"} {
				require.Contains(t, r.stdout, want)
			}
			require.Equal(t, format == "raw", strings.Contains(r.stdout, "bitmap   images/demo.mf"))
			r = fastimage(t, env, append(args, "--json")...)
			require.Zero(t, r.code, r.stderr)
			want := []string{"source", "format", "bucket", "key", "mf_key", "image_name", "min_disk", "os_version", "architecture", "firmware", "object_bytes_max", "part_bytes", "parts_max", "send_bytes_max",
				"disk", "guest", "quota", "stage", "warnings"}
			if format == "zvhd2" {
				want = append(want[:4], want[5:]...)
			}
			require.Equal(t, want, keys(t, r.stdout))
			var plan quickimport.Plan
			require.NoError(t, json.Unmarshal([]byte(r.stdout), &plan))
			require.Equal(t, []any{"raw", int64(64 << 20), 10, "planned"}, []any{plan.Source.Format, plan.Source.DiskBytes, plan.MinDisk, plan.Stage})
			require.Empty(t, srv.Objects("images"))
			require.Empty(t, srv.Images())
			left, err := os.ReadDir(state)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
	_, env := testCloud(t, imstest.WithQuota(0))
	r := fastimage(t, env, append(toCloud, "--dry-run", "--tag", "nodot", "--bucket", "not-there", disk)...)
	requireRefused(t, r, "nodot")
	requireRefused(t, r, "IMG.0015")
	requireRefused(t, r, "IMG.0069")
	require.Contains(t, r.stderr, "3 problems found")
}

// --no-wait ends with the job's id, with which job follows it; the same import
// without it ends with the image's.
func TestImportNoWait(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t, imstest.WithJobDuration(300*time.Millisecond))
	state := t.TempDir()
	args := append(toCloud, "--state-dir", state, disk)
	r := fastimage(t, env, append(args, "--no-wait")...)
	require.Zero(t, r.code, r.stderr)
	job := srv.Jobs()[0].ID
	require.Equal(t, job+"\n", r.stdout)
	require.Contains(t, r.stderr, "fastimage job --wait "+job)

	r = fastimage(t, env, "job", "--wait", job)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "status   SUCCESS\n")
	require.Contains(t, r.stdout, "image    "+srv.Images()[0].ID)
	r = fastimage(t, env, "job", "--json", job)
	require.Equal(t, []string{"job_id", "job_type", "status", "begin_time", "end_time", "error_code", "fail_reason", "entities"}, keys(t, r.stdout))

	r = fastimage(t, env, args...)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, srv.Images()[0].ID+"\n", r.stdout)
	require.Len(t, srv.Jobs(), 1)
}

// --timeout leaves the job running and says which it is.
func TestImportTimeout(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t, imstest.WithJobDuration(time.Hour))
	args := append(toCloud, "--state-dir", t.TempDir(), disk)
	r := fastimage(t, env, append(args, "--no-wait")...)
	require.Zero(t, r.code, r.stderr)
	job := srv.Jobs()[0].ID
	requireError(t, fastimage(t, env, append(args, "--timeout", "1s")...), exitFailed, job, "continues")
	requireError(t, fastimage(t, env, "job", "--wait", "--timeout", "300ms", job), exitFailed, job, "continues")
	require.NotEqual(t, "FAIL", srv.Jobs()[0].Status)
}

func TestImportDeleteObject(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	r := fastimage(t, env, append(toCloud, "--delete-object", "--format", "raw", disk)...)
	require.Zero(t, r.code, r.stderr)
	require.Empty(t, srv.Objects("images"))
	require.Len(t, srv.Images(), 1)
	requireError(t, fastimage(t, env, append(toCloud, "--delete-object", "--no-wait", disk)...), exitUsage, "leave one out")
}

func TestCreateAndImages(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t)
	data, err := os.ReadFile(disk)
	require.NoError(t, err)
	require.NoError(t, srv.PutObject("images", "folder/disk.raw", bytes.NewReader(data)))
	create := []string{"create", "--name", "made", "--os-version", "Debian GNU/Linux 12 64bit", "obs://images/folder/disk.raw"}
	requireRefused(t, fastimage(t, env, create...), "IMG.0158", "folder/disk.mf")
	require.NoError(t, srv.PutObject("images", "folder/disk.mf", strings.NewReader("m")))
	r := fastimage(t, env, append(create, "--json")...)
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, []string{"import_id", "image_id", "image_name", "job_id", "bucket", "key", "format", "os_version", "architecture", "firmware", "min_disk", "guest", "source_format", "source_bytes",
		"data_bytes", "object_bytes", "wire_bytes", "etag", "retries", "seconds", "phases", "warnings"}, keys(t, r.stdout))
	require.Equal(t, 10, srv.Images()[0].MinDisk)

	for _, args := range [][]string{{"images"}, {"images", "--name", "made"}} {
		r = fastimage(t, env, args...)
		require.Zero(t, r.code, r.stderr)
		require.Regexp(t, `^ID +STATUS +DISK +CREATED +NAME\n`+srv.Images()[0].ID+`  active  10GiB  \d{4}-\d\d-\d\d \d\d:\d\d  made\n$`, r.stdout)
	}
	r = fastimage(t, env, "images", "--name", "none")
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, 1, strings.Count(r.stdout, "\n"), "the header alone")
	r = fastimage(t, env, "images", "--json")
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, []string{"images"}, keys(t, r.stdout))
	var list struct{ Images []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &list))
	require.Len(t, list.Images, 1)
	for _, k := range []string{"id", "name", "status", "min_disk", "created", "origin"} {
		require.Contains(t, list.Images[0], k)
	}
	require.Len(t, list.Images[0], 6)
	require.Equal(t, "file,images:folder/disk.raw", list.Images[0]["origin"])
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	srv, env := testCloud(t, imstest.WithVariants(imstest.NoCopy))
	r := fastimage(t, env, "doctor", "--import")
	require.Zero(t, r.code, r.stderr)
	require.Regexp(t, `(?m)^warning  copying of parts +`, r.stdout)
	require.Regexp(t, `(?m)^ok       import +`, r.stdout)
	r = fastimage(t, env, "doctor", "--json")
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, []string{"bucket", "prefix", "checks"}, keys(t, r.stdout))
	var rep struct{ Checks []map[string]string }
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &rep))
	for _, c := range rep.Checks {
		require.Len(t, c, 4)
		for _, k := range []string{"name", "finding", "detail", "consequence"} {
			require.Contains(t, c, k)
		}
	}
	require.Empty(t, srv.Objects("images"))
	require.Empty(t, srv.Images())

	r = fastimage(t, env, "doctor", "--bucket", "not-there")
	require.Equal(t, exitFailed, r.code)
	require.Regexp(t, `(?m)^failed   bucket +`, r.stdout)
	require.Contains(t, r.stderr, "fastimage: imports through this bucket will fail")
	requireError(t, fastimage(t, env, "doctor", "--format", "vmdk"), exitUsage, "zvhd2 or raw")
	requireError(t, fastimage(t, append(env, "FASTIMAGE_BUCKET="), "doctor"), exitUsage, "--bucket")
}
