package quickimport_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// fields are a request's body as it is sent; a nil value leaves the field out.
type fields = map[string]any

// rule is a documented rule, broken alone: in the library's request by edit,
// in a request written by hand by raw.
type rule struct {
	name  string
	data  bool // of a data disk
	edit  func(*quickimport.Image)
	field string
	raw   fields
	code  string
}

func rules() []rule {
	type image = quickimport.Image
	long := strings.Repeat
	tag := func(s string) func(*image) { return func(m *image) { m.Tags = []string{s} } }
	pair := func(k, v string) func(*image) {
		return func(m *image) { m.ImageTags = []quickimport.Tag{{Key: k, Value: v}} }
	}
	pairs := func(k, v string) fields { return fields{"image_tags": []fields{{"key": k, "value": v}}} }
	return []rule{
		{"name missing", false, func(m *image) { m.Name = "" }, "name", fields{"name": nil}, "IMG.0062"},
		{"name empty", false, func(m *image) { m.Name = "" }, "name", fields{"name": ""}, "IMG.0062"},
		{"name of 129 characters", false, func(m *image) { m.Name = long("像", 129) }, "name", fields{"name": long("像", 129)}, "IMG.0002"},
		{"name with a slash", false, func(m *image) { m.Name = "a/b" }, "name", fields{"name": "a/b"}, "IMG.0003"},
		{"name with an accent", false, func(m *image) { m.Name = "é" }, "name", fields{"name": "é"}, "IMG.0003"},
		{"name with a line feed", false, func(m *image) { m.Name = "a\nb" }, "name", fields{"name": "a\nb"}, "IMG.0003"},
		{"name after a space", false, func(m *image) { m.Name = " a" }, "name", fields{"name": " a"}, "IMG.0003"},
		{"name before a space", false, func(m *image) { m.Name = "a " }, "name", fields{"name": "a "}, "IMG.0003"},
		{"description of 1025 characters", false, func(m *image) { m.Description = long("é", 1025) }, "description", fields{"description": long("é", 1025)}, "IMG.0004"},
		{"description with a line feed", false, func(m *image) { m.Description = "a\nb" }, "description", fields{"description": "a\nb"}, "IMG.0054"},
		{"description with a carriage return", false, func(m *image) { m.Description = "a\rb" }, "description", fields{"description": "a\rb"}, "IMG.0054"},
		{"description with <", false, func(m *image) { m.Description = "a<b" }, "description", fields{"description": "a<b"}, "IMG.0054"},
		{"description with >", false, func(m *image) { m.Description = "a>b" }, "description", fields{"description": "a>b"}, "IMG.0054"},
		{"os_version missing", false, func(m *image) { m.OSVersion = "" }, "os_version", fields{"os_version": nil}, "IMG.0159"},
		{"os_version of spaces", false, func(m *image) { m.OSVersion = "  " }, "os_version", fields{"os_version": "  "}, "IMG.0159"},
		{"os_version with a line feed", false, func(m *image) { m.OSVersion = "a\nb" }, "os_version", fields{"os_version": "a\nb"}, "IMG.0056"},
		{"os_version with <", false, func(m *image) { m.OSVersion = "a<b" }, "os_version", fields{"os_version": "a<b"}, "IMG.0056"},
		{"os_version of a data disk", true, func(m *image) { m.OSVersion = "CentOS 7.0 64bit" }, "os_version", fields{"os_version": "CentOS 7.0 64bit"}, "IMG.0056"},
		{"os_type of a system disk", false, func(m *image) { m.OSType = "Linux" }, "os_type", fields{"os_type": "Linux"}, "IMG.0122"},
		{"os_type unknown", true, func(m *image) { m.OSType = "BSD" }, "os_type", fields{"os_type": "BSD"}, "IMG.0122"},
		{"bucket missing", false, func(m *image) { m.Bucket = "" }, "bucket", fields{"image_url": ":key"}, "IMG.0017"},
		{"bucket with capitals", false, func(m *image) { m.Bucket = "Images" }, "bucket", fields{"image_url": "Images:disk.raw"}, "IMG.0017"},
		{"bucket of two characters", false, func(m *image) { m.Bucket = "ab" }, "bucket", fields{"image_url": "ab:disk.raw"}, "IMG.0017"},
		{"key missing", false, func(m *image) { m.Key = "" }, "key", fields{"image_url": "images:"}, "IMG.0017"},
		{"key of 1025 bytes", false, func(m *image) { m.Key = long("k", 1025) }, "key", fields{"image_url": "images:" + long("k", 1025)}, "IMG.0017"},
		{"space in a file's name", false, func(m *image) { m.Key = "a b.raw" }, "key", fields{"image_url": "images:a b.raw"}, "IMG.0175"},
		{"space in a folder's name", false, func(m *image) { m.Key = "a b/c.raw" }, "key", fields{"image_url": "images:a b/c.raw"}, "IMG.0175"},
		{"min_disk of 0", false, func(m *image) { m.MinDisk = 0 }, "min_disk", fields{"min_disk": nil}, "IMG.0055"},
		{"min_disk below 0", false, func(m *image) { m.MinDisk = -1 }, "min_disk", fields{"min_disk": -1}, "IMG.0055"},
		{"min_disk of 1025", false, func(m *image) { m.MinDisk = 1025 }, "min_disk", fields{"min_disk": 1025}, "IMG.0055"},
		{"type unknown", false, func(m *image) { m.Type = "ecs" }, "type", fields{"type": "ecs"}, "IMG.0024"},
		{"tag without a dot", false, tag("key"), "tags", fields{"tags": []string{"key"}}, "IMG.0115"},
		{"tag without a key", false, tag(".v"), "tags", fields{"tags": []string{".v"}}, "IMG.0115"},
		{"tag's key of 37 characters", false, tag(long("k", 37) + ".v"), "tags", fields{"tags": []string{long("k", 37) + ".v"}}, "IMG.0115"},
		{"tag's value of 44 characters", false, tag("k." + long("v", 44)), "tags", fields{"tags": []string{"k." + long("v", 44)}}, "IMG.0115"},
		{"tag with another character", false, tag("k.v=1"), "tags", fields{"tags": []string{"k.v=1"}}, "IMG.0115"},
		{"image tag without a key", false, pair("", "v"), "image_tags", pairs("", "v"), "IMG.0115"},
		{"image tag's key of 37 characters", false, pair(long("k", 37), ""), "image_tags", pairs(long("k", 37), ""), "IMG.0115"},
		{"image tag's value of 44 characters", false, pair("k", long("v", 44)), "image_tags", pairs("k", long("v", 44)), "IMG.0115"},
		{"both kinds of tags", false, func(m *image) { tag("a.b")(m); pair("k", "")(m) }, "image_tags",
			fields{"tags": []string{"a.b"}, "image_tags": []fields{{"key": "k", "value": ""}}}, "IMG.0116"},
		{"enterprise project", false, func(m *image) { m.EnterpriseProjectID = "default" }, "enterprise_project_id", fields{"enterprise_project_id": "default"}, "IMG.0001"},
		{"architecture unknown", false, func(m *image) { m.Architecture = "riscv" }, "architecture", fields{"architecture": "riscv"}, "IMG.0212"},
		{"architecture of a data disk", true, func(m *image) { m.Architecture = "x86" }, "architecture", fields{"architecture": "x86"}, "IMG.0212"},
		{"firmware unknown", false, func(m *image) { m.HWFirmwareType = "efi" }, "hw_firmware_type", fields{"hw_firmware_type": "efi"}, "IMG.0141"},
		{"firmware of a data disk", true, func(m *image) { m.HWFirmwareType = "uefi" }, "hw_firmware_type", fields{"hw_firmware_type": "uefi"}, "IMG.0141"},
		{"arm with bios", false, func(m *image) { m.Architecture, m.HWFirmwareType = "arm", "bios" }, "hw_firmware_type",
			fields{"architecture": "arm", "hw_firmware_type": "bios"}, "IMG.0141"},
		{"license unknown", false, func(m *image) { m.OSVersion, m.LicenseType = "Windows Server 2019", "free" }, "license_type",
			fields{"os_version": "Windows Server 2019", "license_type": "free"}, "IMG.0001"},
		{"license of Linux", false, func(m *image) { m.LicenseType = "byol" }, "license_type", fields{"license_type": "byol"}, "IMG.0001"},
		{"license of a data disk", true, func(m *image) { m.LicenseType = "byol" }, "license_type", fields{"license_type": "byol"}, "IMG.0001"},
	}
}

// ruleImage is a request that breaks no rule.
func ruleImage(data bool) quickimport.Image {
	if data {
		return quickimport.Image{Name: "web", Type: quickimport.TypeData, Bucket: "images", Key: "disk.raw", MinDisk: 40}
	}
	return quickimport.Image{Name: "web", OSVersion: "CentOS 7.0 64bit", Bucket: "images", Key: "disk.raw", MinDisk: 40}
}

// ruleFields are the same request by hand.
func ruleFields(data bool, change fields) fields {
	f := fields{"name": "web", "image_url": "images:disk.raw", "min_disk": 40, "type": "ECS", "os_version": "CentOS 7.0 64bit"}
	if data {
		f["type"], f["os_type"] = "DataImage", "Linux"
		delete(f, "os_version")
	}
	maps.Copy(f, change)
	maps.DeleteFunc(f, func(_ string, v any) bool { return v == nil })
	return f
}

// post sends a body that no library has looked at, signed, and gives the
// answer's status and code.
func post(t *testing.T, srv *imstest.Server, body fields) (int, string) {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	r, err := http.NewRequest(http.MethodPost, srv.IMSEndpoint()+"/v2/cloudimages/quickimport/action", strings.NewReader(string(data)))
	require.NoError(t, err)
	quickimport.Sign(r, data, quickimport.Credentials{AccessKey: srv.AccessKey(), SecretKey: srv.SecretKey()}, srv.ProjectID(), time.Now())
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var form struct{ Error struct{ Code string } }
	require.NoError(t, json.Unmarshal(text, &form), "%s", text)
	return resp.StatusCode, form.Error.Code
}

// ruleCloud is a cloud in which a request that breaks no rule succeeds.
func ruleCloud(t *testing.T) *imstest.Server {
	t.Helper()
	srv := imstest.NewServer(t)
	require.NoError(t, srv.PutObject("images", "disk.raw", bytes.NewReader(noise(1024))))
	require.NoError(t, srv.PutObject("images", "disk.mf", strings.NewReader("m")))
	return srv
}

// wholeProblems holds that each problem says all there is to say.
func wholeProblems(t *testing.T, err error) []quickimport.Problem {
	t.Helper()
	var v *quickimport.ValidationError
	require.ErrorAs(t, err, &v)
	require.ErrorIs(t, err, quickimport.ErrValidation)
	require.NotEmpty(t, v.Problems)
	for _, p := range v.Problems {
		require.NotEmpty(t, p.Field, "%+v", p)
		require.NotEmpty(t, p.Rule, "%+v", p)
		require.NotEmpty(t, p.Reason, "%+v", p)
		require.Contains(t, err.Error(), p.String())
	}
	return v.Problems
}

// Every documented rule that the request alone decides: broken alone it is
// found before the network, under its field and with the code that the service
// answers when the same request is sent past all checks.
func TestEachDocumentedRule(t *testing.T) {
	srv := ruleCloud(t)
	c := cloudClient(t, srv)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			img := ruleImage(r.data)
			r.edit(&img)
			before := len(srv.Requests())
			_, err := c.CreateImage(t.Context(), img)
			problems := wholeProblems(t, err)
			require.Len(t, problems, 1, "%v", problems)
			require.Equal(t, []string{r.field, r.code}, []string{problems[0].Field, problems[0].Code})
			require.Len(t, srv.Requests(), before, "caught before the network")

			status, code := post(t, srv, ruleFields(r.data, r.raw))
			require.Equal(t, []any{400, r.code}, []any{status, code})
		})
	}
	require.Empty(t, srv.Images())
	for _, data := range []bool{false, true} {
		require.NoError(t, ruleImage(data).Validate(), "what the table changes is allowed itself")
		status, code := post(t, srv, ruleFields(data, fields{"name": map[bool]string{false: "sys", true: "data"}[data]}))
		require.Equal(t, 200, status, code)
	}
}

// Every documented rule that the object and the cloud decide: Create finds it
// before the POST, with the code that the service answers to the POST.
func TestEachDocumentedRuleOfObjects(t *testing.T) {
	srv := ruleCloud(t)
	object := func(bucket, key, data string) {
		require.NoError(t, srv.PutObject(bucket, key, strings.NewReader(data)))
	}
	require.NoError(t, srv.MakeBucket("elsewhere", "other-region-1", ""))
	require.NoError(t, srv.MakeBucket("coldstore", "", "COLD"))
	for _, b := range []string{"elsewhere", "coldstore"} {
		object(b, "disk.raw", "\x01\x02")
		object(b, "disk.mf", "m")
	}
	object("images", "bare.raw", "\x01\x02")
	object("images", "nomf.raw", "\x01\x02")
	object("images", "nomf.mf", "")
	object("images", "empty.raw", "")
	object("images", "empty.mf", "m")
	object("images", "foreign.raw", "QFI\xfb\x00\x00\x00\x03"+strings.Repeat("\x00", 600))
	object("images", "large.raw", strings.Repeat("\x01", 512))
	object("images", "large.mf", "m")
	_, err := cloudClient(t, srv).Create(t.Context(), ruleImage(false)) // takes the name web
	require.NoError(t, err)
	set := func(bucket, key string) func(*quickimport.Image) {
		return func(m *quickimport.Image) { m.Name, m.Bucket, m.Key = "other", bucket, key }
	}
	tests := []struct {
		name  string
		edit  func(*quickimport.Image)
		field string
		code  string
	}{
		{"bucket missing", set("not-there", "disk.raw"), "bucket", "IMG.0069"},
		{"bucket in another region", set("elsewhere", "disk.raw"), "bucket", "IMG.0058"},
		{"storage class", set("coldstore", "disk.raw"), "bucket", "IMG.0057"},
		{"object missing", set("images", "none.raw"), "object", "IMG.0121"},
		{"object empty", set("images", "empty.raw"), "object", "IMG.0057"},
		{"object in another format", set("images", "foreign.raw"), "object", "IMG.0158"},
		{"bitmap file missing", set("images", "bare.raw"), "mf", "IMG.0158"},
		{"bitmap file empty", set("images", "nomf.raw"), "mf", "IMG.0158"},
		{"name taken", func(m *quickimport.Image) {}, "name", "IMG.0009"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img := ruleImage(false)
			tt.edit(&img)
			_, err := cloudClient(t, srv).Create(t.Context(), img)
			var found []string
			for _, p := range wholeProblems(t, err) {
				found = append(found, p.Field+" "+p.Code)
			}
			require.Contains(t, found, tt.field+" "+tt.code)
			status, code := post(t, srv, ruleFields(false, fields{"name": img.Name, "image_url": img.Bucket + ":" + img.Key}))
			require.Equal(t, []any{400, tt.code}, []any{status, code})
		})
	}
	require.Len(t, srv.Images(), 1)
}
