package quickimport_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/uploader"
)

const probe = ".fastimage-preflight"

// writes are the requests that change something, as "METHOD /path".
func writes(srv *imstest.Server) []string {
	var out []string
	for _, r := range srv.Requests() {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			out = append(out, r.Method+" "+r.Path)
		}
	}
	return out
}

func fieldsOf(problems []quickimport.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.Field)
	}
	return out
}

// An import that cannot succeed says every reason at once, and sends nothing
// but the object that tries the bucket.
func TestPreflightSaysEverythingAtOnce(t *testing.T) {
	denied := imstest.Fault{Service: imstest.OBS, Method: http.MethodPut, Status: 403, Code: "AccessDenied", Count: -1}
	forbidden := imstest.Fault{Service: imstest.IMS, Method: http.MethodGet, Path: "/v2/cloudimages", Status: 403, Code: "IMG.0013", Count: -1}
	spoilt, _ := mfOf(t, bitmap.DefaultLayout(), func(b *bitmap.Bitmap) { b.Set(0, false) })
	type image = quickimport.Image
	tests := []struct {
		name   string
		file   string
		edit   func(*image)
		opts   []any
		quota  int
		fault  *imstest.Fault
		fields []string
		is     []error
		tried  bool // whether the bucket's other checks held, so that a PUT was sent
	}{
		{"bad request, bad disk, no bucket, no quota", cutShort(t), func(m *image) { m.Name, m.Tags, m.Bucket, m.MinDisk = "a/b", []string{"nodot"}, "not-there", 2000 }, nil, 1, nil,
			[]string{"name", "min_disk", "tags", "file", "quota", "bucket"}, []error{rawimage.ErrTruncated, quickimport.ErrQuota, uploader.ErrNoSuchBucket}, false},
		{"taken name, quota, denied bucket, bad tag", realDisk, func(m *image) { m.Tags = []string{"nodot"} }, nil, 1, &denied,
			[]string{"tags", "quota", "name", "bucket"}, []error{quickimport.ErrQuota, quickimport.ErrNameTaken, uploader.ErrAccessDenied}, true},
		{"bitmap file, region", realDisk, func(m *image) { m.Name, m.Bucket, m.Key = "other", "elsewhere", "new.raw" },
			[]any{quickimport.WithFormat(quickimport.FormatRaw), quickimport.WithBitmapFile(spoilt)}, 9, nil,
			[]string{"mf", "bucket"}, []error{bitmap.ErrCoverage, uploader.ErrWrongRegion}, false},
		{"min_disk, storage class", realDisk, func(m *image) { m.Name, m.Bucket, m.MinDisk = "other", "coldstore", 1025 }, nil, 9, nil,
			[]string{"min_disk", "bucket"}, []error{uploader.ErrStorageClass}, false},
		{"object exists, rights", realDisk, func(m *image) { m.Key = "taken.zvhd2" }, nil, 9, &forbidden,
			[]string{"name", "bucket"}, []error{quickimport.ErrForbidden, quickimport.ErrObjectExists}, false},
	}
	for _, tt := range tests {
		for _, run := range []string{"import", "plan"} {
			t.Run(tt.name+"/"+run, func(t *testing.T) {
				t.Parallel()
				srv := imstest.NewServer(t, imstest.WithQuota(tt.quota))
				require.NoError(t, srv.MakeBucket("elsewhere", "other-region-1", ""))
				require.NoError(t, srv.MakeBucket("coldstore", "", "COLD"))
				first := demo(srv.Bucket())
				first.Key = "taken.zvhd2"
				_, err := cloudClient(t, srv).Import(t.Context(), quickimport.File(realDisk), first)
				require.NoError(t, err)
				objects, before := srv.Objects(srv.Bucket()), len(writes(srv))
				if tt.fault != nil {
					srv.Fail(*tt.fault)
				}
				img := demo(srv.Bucket())
				tt.edit(&img)
				state := t.TempDir()
				c := cloudClient(t, srv, append(tt.opts, quickimport.WithStateDir(state))...)
				if run == "plan" {
					_, err = c.Plan(t.Context(), quickimport.File(tt.file), img)
				} else {
					_, err = c.Import(t.Context(), quickimport.File(tt.file), img)
				}
				require.Equal(t, tt.fields, fieldsOf(wholeProblems(t, err)))
				for _, is := range tt.is {
					require.ErrorIs(t, err, is)
				}
				sent := []string{}
				if tt.tried {
					sent = append(sent, "PUT /"+img.Bucket+"/"+probe)
				}
				require.Equal(t, sent, writes(srv)[before:], "nothing but the probe is sent")
				require.Equal(t, objects, srv.Objects(srv.Bucket()))
				require.Empty(t, srv.UnfinishedUploads())
				require.Len(t, srv.Images(), 1)
				left, err := os.ReadDir(state)
				require.NoError(t, err)
				require.Empty(t, left)
			})
		}
	}
}

// What could not be checked is said where there are other reasons, and is the
// error where there are none.
func TestPreflightThatCannotCheckEverything(t *testing.T) {
	t.Parallel() // each waits until the client gives up
	for name, edit := range map[string]func(*quickimport.Image){
		"with another reason": func(m *quickimport.Image) { m.Tags = []string{"nodot"} },
		"alone":               func(m *quickimport.Image) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			srv.Fail(imstest.Fault{Service: imstest.IMS, Method: http.MethodGet, Path: "/v2/cloudimages", Status: 503, Count: -1})
			img := demo(srv.Bucket())
			edit(&img)
			_, err := cloudClient(t, srv).Import(t.Context(), quickimport.File(realDisk), img)
			var api *quickimport.APIError
			require.ErrorAs(t, err, &api)
			require.Equal(t, 503, api.StatusCode)
			if len(img.Tags) > 0 {
				require.Equal(t, []string{"tags", "preflight"}, fieldsOf(wholeProblems(t, err)))
			} else {
				require.NotErrorIs(t, err, quickimport.ErrValidation)
			}
			nothingLeft(t, srv)
		})
	}
}

// A plan says what an import does: the bounds hold, and nothing is left behind.
func TestPlanHoldsForTheImport(t *testing.T) {
	holes := filepath.Join(t.TempDir(), "holes.raw")
	require.NoError(t, os.WriteFile(holes, append(noise(512), bytes.Repeat([]byte("data"), 1<<19)...), 0o600))
	require.NoError(t, os.Truncate(holes, 100<<20))
	for _, format := range []quickimport.Format{quickimport.FormatZVHD2, quickimport.FormatRaw} {
		for name, file := range map[string]string{"real": realDisk, "holes": holes} {
			t.Run(string(format)+"/"+name, func(t *testing.T) {
				t.Parallel()
				srv := imstest.NewServer(t, imstest.WithQuota(7))
				state := t.TempDir()
				c := cloudClient(t, srv, quickimport.WithFormat(format), quickimport.WithStateDir(state))
				img := demo(srv.Bucket())
				img.Key = "folder/x." + string(format)
				plan, err := c.Plan(t.Context(), quickimport.File(file), img)
				require.NoError(t, err)
				require.Equal(t, []string{"PUT /images/folder/" + probe, "DELETE /images/folder/" + probe}, writes(srv))
				nothingLeft(t, srv)
				left, err := os.ReadDir(state)
				require.NoError(t, err)
				require.Empty(t, left)

				res, err := c.Import(t.Context(), quickimport.File(file), img)
				require.NoError(t, err)
				require.Equal(t, []any{res.Bucket, res.Key, res.Format, res.SourceFormat, res.SourceBytes, 10, "planned", &quickimport.Quota{Used: 0, Limit: 7}},
					[]any{plan.Bucket, plan.Key, plan.Format, plan.Source.Format, plan.Source.DiskBytes, plan.MinDisk, plan.Stage, plan.Quota})
				require.LessOrEqual(t, res.ObjectBytes, plan.ObjectBytesMax)
				mf := int64(0)
				if format == quickimport.FormatRaw {
					require.Equal(t, "folder/x.mf", plan.MFKey)
					for _, o := range srv.Objects(srv.Bucket()) {
						if o.Key == plan.MFKey {
							mf = o.Size
						}
					}
					require.Positive(t, mf)
				}
				require.LessOrEqual(t, res.WireBytes-mf, plan.SendBytesMax+1<<10, "beside it the bodies of the requests")
				require.LessOrEqual(t, (res.ObjectBytes+plan.PartBytes-1)/plan.PartBytes, plan.PartsMax)
				require.Equal(t, plan.Warnings, res.Warnings)
			})
		}
	}
}

// armDisk is the real disk with the loader of another architecture.
func armDisk(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	i := bytes.Index(data, []byte("BOOTX64 EFI"))
	require.Positive(t, i)
	copy(data[i:], "BOOTAA64EFI")
	name := filepath.Join(t.TempDir(), "arm.raw")
	require.NoError(t, os.WriteFile(name, data, 0o600))
	return name
}

// The disk says what firmware and architecture to request; a request that
// contradicts it is refused before the upload, unless it is forced.
func TestFirmwareAndArchitecture(t *testing.T) {
	t.Parallel()
	type image = quickimport.Image
	const x86, arm, bios, uefi = quickimport.ArchX86, quickimport.ArchARM, quickimport.FirmwareBIOS, quickimport.FirmwareUEFI
	armFile := armDisk(t)
	tests := []struct {
		name, file string
		edit       func(*image)
		arch       quickimport.Architecture
		firmware   quickimport.Firmware
		fields     []string // that contradict the disk
	}{
		{"x86, left out", realDisk, func(m *image) {}, x86, uefi, nil},
		{"x86, auto", realDisk, func(m *image) { m.Architecture, m.HWFirmwareType = quickimport.ArchAuto, quickimport.FirmwareAuto }, x86, uefi, nil},
		{"x86, as uefi", realDisk, func(m *image) { m.HWFirmwareType = uefi }, x86, uefi, nil},
		{"x86, as bios", realDisk, func(m *image) { m.HWFirmwareType = bios }, x86, bios, []string{"hw_firmware_type"}},
		{"x86, as arm", realDisk, func(m *image) { m.Architecture = arm }, arm, uefi, []string{"architecture"}},
		{"arm, left out", armFile, func(m *image) {}, arm, uefi, nil},
		{"arm, as arm", armFile, func(m *image) { m.Architecture = arm }, arm, uefi, nil},
		{"arm, as x86 with bios", armFile, func(m *image) { m.Architecture, m.HWFirmwareType = x86, bios }, x86, bios, []string{"hw_firmware_type", "architecture"}},
		{"a data disk", armFile, func(m *image) { m.Type, m.OSVersion = quickimport.TypeData, "" }, "", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := imstest.NewServer(t)
			img := demo(srv.Bucket())
			tt.edit(&img)
			c := cloudClient(t, srv, quickimport.WithGuestCheck(quickimport.GuestOff))
			plan, err := c.Plan(t.Context(), quickimport.File(tt.file), img)
			if tt.fields != nil {
				require.ErrorIs(t, err, quickimport.ErrMismatch)
				var refused *quickimport.ValidationError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, tt.fields, fieldsOf(refused.Problems))
				require.Equal(t, quickimport.ReasonMismatch, refused.Problems[0].Reason)
				c.opts = append(c.opts, quickimport.WithForce())
				plan, err = c.Plan(t.Context(), quickimport.File(tt.file), img)
			}
			require.NoError(t, err)
			require.Len(t, plan.Warnings, len(tt.fields), "%v", plan.Warnings)
			require.Equal(t, []any{tt.arch, tt.firmware}, []any{plan.Architecture, plan.Firmware})
			res, err := c.Import(t.Context(), quickimport.File(tt.file), img)
			require.NoError(t, err)
			require.Equal(t, []any{tt.arch, tt.firmware}, []any{res.Architecture, res.Firmware})
			if tt.arch != "" {
				require.Equal(t, []string{string(tt.arch), string(tt.firmware)}, []string{srv.Images()[0].Architecture, srv.Images()[0].Firmware})
			}
		})
	}
}

// What is wrong with the guest is a warning, or refused before anything is sent.
func TestGuestCheck(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	plan, err := cloudClient(t, srv).Plan(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.True(t, plan.Guest.Examined)
	require.Empty(t, plan.Warnings)
	broken := quickimport.File(brokenGuest(t))
	plan, err = cloudClient(t, srv).Plan(t.Context(), broken, demo(srv.Bucket()))
	require.NoError(t, err)
	require.Contains(t, warningTexts(plan.Warnings), "guest: root-device: ")

	c := cloudClient(t, srv, quickimport.WithGuestCheck(quickimport.GuestStrict))
	_, err = c.Import(t.Context(), broken, demo(srv.Bucket()))
	require.ErrorIs(t, err, quickimport.ErrGuest)
	require.ErrorIs(t, err, quickimport.ErrValidation)
	nothingLeft(t, srv)
	require.Zero(t, sent(srv))

	plan, err = cloudClient(t, srv, quickimport.WithGuestCheck(quickimport.GuestOff)).Plan(t.Context(), broken, demo(srv.Bucket()))
	require.NoError(t, err)
	require.Nil(t, plan.Guest)
	require.Empty(t, plan.Warnings)
}

// brokenGuest is the real disk with a boot loader that names its root by a device
// that is another one in the cloud.
func brokenGuest(t *testing.T) string {
	t.Helper()
	disk, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(disk, []byte("root=LABEL=root")))
	name := filepath.Join(t.TempDir(), "broken.raw")
	require.NoError(t, os.WriteFile(name, bytes.Replace(disk, []byte("root=LABEL=root"), []byte("root=/dev/sda2 "), 1), 0o600))
	return name
}

// min_disk left out is computed: the disk's size, and at least what the service asks for.
func TestPlanComputesMinDisk(t *testing.T) {
	sparse := filepath.Join(t.TempDir(), "sparse.raw")
	require.NoError(t, os.WriteFile(sparse, []byte("data"), 0o600))
	srv := imstest.NewServer(t)
	for _, tt := range []struct {
		size int64
		edit func(*quickimport.Image)
		want int
	}{
		{1 << 30, func(m *quickimport.Image) {}, 10},
		{1 << 30, func(m *quickimport.Image) { m.OSVersion = "Windows Server 2019 Standard 64bit" }, 20},
		{1 << 30, func(m *quickimport.Image) { m.Type, m.OSVersion = quickimport.TypeData, "" }, 10},
		{1 << 30, func(m *quickimport.Image) {
			m.Type, m.OSVersion, m.OSType = quickimport.TypeData, "", quickimport.OSWindows
		}, 20},
		{10<<30 + 512, func(m *quickimport.Image) { m.Type, m.OSVersion = quickimport.TypeData, "" }, 11},
		{40<<30 + 512, func(m *quickimport.Image) {}, 41},
		{40 << 30, func(m *quickimport.Image) { m.MinDisk = 100 }, 100},
		{2 << 30, func(m *quickimport.Image) { m.MinDisk = 2 }, 2}, // less than a default would be, and allowed
		{1 << 40, func(m *quickimport.Image) {}, 1024},
	} {
		require.NoError(t, os.WriteFile(sparse, noise(512), 0o600))
		require.NoError(t, os.Truncate(sparse, tt.size))
		img := demo(srv.Bucket())
		tt.edit(&img)
		plan, err := cloudClient(t, srv).Plan(t.Context(), quickimport.File(sparse), img)
		require.NoError(t, err)
		require.Equal(t, tt.want, plan.MinDisk)
	}
}

// An os_version that was left out is derived from the guest, and the image is
// requested with it. A value that contradicts the guest is a warning.
func TestOSVersionOfTheGuest(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	img := demo(srv.Bucket())
	img.OSVersion = ""
	res, err := cloudClient(t, srv, quickimport.WithStateDir(t.TempDir())).Import(t.Context(), quickimport.File(realDisk), img)
	require.NoError(t, err)
	require.NotEmpty(t, res.OSVersion)
	require.Contains(t, srv.OSVersions(""), res.OSVersion)
	require.Equal(t, res.OSVersion, srv.Images()[0].OSVersion)

	img = demo(srv.Bucket())
	img.Name, img.OSVersion = "demo 2", "CentOS 7.9 64bit"
	plan, err := cloudClient(t, srv).Plan(t.Context(), quickimport.File(realDisk), img)
	require.NoError(t, err)
	require.Contains(t, warningTexts(plan.Warnings), "os-version")

	img.OSVersion = ""
	_, err = cloudClient(t, srv, quickimport.WithGuestCheck(quickimport.GuestOff)).Plan(t.Context(), quickimport.File(realDisk), img)
	problems := wholeProblems(t, err)
	require.Equal(t, []string{"os_version"}, fieldsOf(problems))
	require.Equal(t, quickimport.ReasonRequired, problems[0].Reason)
}
