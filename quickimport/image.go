package quickimport

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Types of images.
const (
	TypeECS  = "ECS"       // system disk of a cloud server; the default
	TypeBMS  = "BMS"       // system disk of a bare metal server
	TypeData = "DataImage" // data disk
)

// MaxImageSize is the largest file that fast image creation takes: 1 TB, 1024 GiB.
const MaxImageSize = 1 << 40

// Image is what is to be created. The rules are those of the API reference.
type Image struct {
	Name        string // 1 to 128 characters: letters, digits, - . _ space, Chinese; no space at an end
	Description string // up to 1024 characters, no line breaks, no < or >
	OSVersion   string // system disks: required, e.g. "CentOS 7.0 64bit"; data disks: none
	OSType      string // data disks: "Linux" (default) or "Windows"; system disks: none
	Type        string // TypeECS (default), TypeBMS, TypeData
	Bucket      string // required; Standard storage class, in the client's region
	Key         string // object key without spaces; Import's default is Name with the format's extension
	MinDisk     int    // GB, 1 to 1024; Import computes it from the disk when 0

	Tags                []string // "key.value"; either Tags or ImageTags
	ImageTags           []Tag
	EnterpriseProjectID string // "", "0" or a UUID
	Architecture        string // "x86" (default) or "arm"
	HWFirmwareType      string // "bios" or "uefi"; arm takes only uefi
	LicenseType         string // Windows only: "platform" or "byol"
}

// Tag is a tag of an image: Key up to 36 characters, Value up to 43.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// createBody is the request body, in the documents' order of fields.
type createBody struct {
	Name                string   `json:"name"`
	Description         string   `json:"description,omitempty"`
	ImageURL            string   `json:"image_url"`
	OSVersion           string   `json:"os_version,omitempty"`
	OSType              string   `json:"os_type,omitempty"`
	MinDisk             int      `json:"min_disk"`
	Type                string   `json:"type"`
	Tags                []string `json:"tags,omitempty"`
	ImageTags           []Tag    `json:"image_tags,omitempty"`
	EnterpriseProjectID string   `json:"enterprise_project_id,omitempty"`
	Architecture        string   `json:"architecture,omitempty"`
	HWFirmwareType      string   `json:"hw_firmware_type,omitempty"`
	LicenseType         string   `json:"license_type,omitempty"`
}

func (m Image) body() createBody {
	return createBody{
		Name: m.Name, Description: m.Description, ImageURL: m.Bucket + ":" + m.Key,
		OSVersion: m.OSVersion, OSType: m.OSType, MinDisk: m.MinDisk, Type: m.Type, Tags: m.Tags,
		ImageTags: m.ImageTags, EnterpriseProjectID: m.EnterpriseProjectID,
		Architecture: m.Architecture, HWFirmwareType: m.HWFirmwareType, LicenseType: m.LicenseType,
	}
}

// withDefaults fills in what has a documented default. os_version is trimmed:
// the documents' own example has a stray leading space.
func (m Image) withDefaults() Image {
	m.OSVersion = strings.TrimSpace(m.OSVersion)
	if m.Type == "" {
		m.Type = TypeECS
	}
	if m.Type == TypeData && m.OSType == "" {
		m.OSType = "Linux" // the editions disagree whether it is required, so it is always sent
	}
	return m
}

// defaultKey is the image's name with the format's extension; what keys must
// not hold (spaces: IMG.0175) becomes '-'.
func defaultKey(name string, f Format) string {
	key := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' {
			return '-'
		}
		return r
	}, name)
	if f == FormatRaw {
		return key + ".raw"
	}
	return key + ".zvhd2"
}

// mfKey is the key of the bitmap file that belongs to a RAW object.
func mfKey(key string) string { return strings.TrimSuffix(key, path.Ext(key)) + ".mf" }

// defaultMinDisk is the disk's size in GB, and for system disks at least what
// newer editions of the service ask for: 10 for Linux, 20 for Windows.
func (m Image) defaultMinDisk(diskSize int64) int {
	n := int((min(diskSize, MaxImageSize) + 1<<30 - 1) >> 30)
	switch {
	case m.Type == TypeData:
		return max(n, 1)
	case m.windows():
		return max(n, 20)
	}
	return max(n, 10)
}

func (m Image) windows() bool {
	return m.OSType == "Windows" || strings.Contains(strings.ToLower(m.OSVersion), "windows")
}

// Validate checks every documented rule of a create request. Its error is a
// [*ValidationError] with all problems.
func (m Image) Validate() error {
	var v validation
	m = m.withDefaults()
	m.checkText(&v)
	m.checkLocation(&v)
	m.checkKind(&v)
	m.checkTags(&v)
	return v.err()
}

type validation struct{ problems []Problem }

func (v *validation) check(ok bool, field, value, code, rule string) {
	if !ok {
		v.problems = append(v.problems, Problem{Field: field, Rule: rule, Value: value, Code: code})
	}
}

func (v *validation) err() error {
	if len(v.problems) == 0 {
		return nil
	}
	return &ValidationError{Problems: v.problems}
}

func nameRune(r rune) bool {
	return r == '-' || r == '.' || r == '_' || r == ' ' || unicode.Is(unicode.Han, r) || asciiAlnum(r)
}

func asciiAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func only(s string, ok func(rune) bool) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })
}

func (m Image) checkText(v *validation) {
	n := utf8.RuneCountInString(m.Name)
	v.check(n >= 1 && n <= 128, "name", m.Name, "IMG.0002", "must have 1 to 128 characters")
	v.check(only(m.Name, nameRune), "name", m.Name, "IMG.0003", "takes letters, digits, '-', '.', '_', spaces and Chinese characters only")
	v.check(strings.TrimSpace(m.Name) == m.Name, "name", m.Name, "IMG.0062", "must not begin or end with a space")
	v.check(utf8.RuneCountInString(m.Description) <= 1024, "description", m.Description, "IMG.0004", "must have at most 1024 characters")
	v.check(!strings.ContainsAny(m.Description, "\r\n<>"), "description", m.Description, "IMG.0054", "must not contain line breaks, '<' or '>'")
}

func (m Image) checkLocation(v *validation) {
	v.check(m.Bucket != "" && !strings.ContainsAny(m.Bucket, ":/ "), "image_url", m.Bucket, "IMG.0017", "needs a bucket name")
	v.check(m.Key != "" && len(m.Key) <= 1024, "image_url", m.Key, "IMG.0017", "needs an object key of 1 to 1024 bytes")
	v.check(!strings.ContainsFunc(m.Key, unicode.IsSpace), "image_url", m.Key, "IMG.0175", "must not contain spaces")
	v.check(m.MinDisk >= 1 && m.MinDisk <= 1024, "min_disk", strconv.Itoa(m.MinDisk), "IMG.0055", "must be 1 to 1024 GB")
}

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func (m Image) checkKind(v *validation) {
	v.check(slices.Contains([]string{TypeECS, TypeBMS, TypeData}, m.Type), "type", m.Type, "IMG.0024", "must be ECS, BMS or DataImage")
	if m.Type == TypeData {
		v.check(m.OSVersion == "", "os_version", m.OSVersion, "IMG.0056", "is not for data disks")
		v.check(m.OSType == "Linux" || m.OSType == "Windows", "os_type", m.OSType, "IMG.0122", "must be Linux or Windows")
		v.check(m.Architecture == "", "architecture", m.Architecture, "IMG.0212", "is not for data disks")
		v.check(m.HWFirmwareType == "", "hw_firmware_type", m.HWFirmwareType, "IMG.0141", "is not for data disks")
		v.check(m.LicenseType == "", "license_type", m.LicenseType, "", "is not for data disks")
	} else {
		v.check(m.OSVersion != "", "os_version", m.OSVersion, "IMG.0159", "is required for system disks, e.g. \"CentOS 7.0 64bit\"")
		v.check(m.OSType == "", "os_type", m.OSType, "IMG.0122", "is for data disks only")
		v.check(slices.Contains([]string{"", "x86", "arm"}, m.Architecture), "architecture", m.Architecture, "IMG.0212", "must be x86 or arm")
		v.check(slices.Contains([]string{"", "bios", "uefi"}, m.HWFirmwareType), "hw_firmware_type", m.HWFirmwareType, "IMG.0141", "must be bios or uefi")
		v.check(m.Architecture != "arm" || m.HWFirmwareType != "bios", "hw_firmware_type", m.HWFirmwareType, "IMG.0141", "must be uefi with architecture arm")
		v.check(slices.Contains([]string{"", "platform", "byol"}, m.LicenseType), "license_type", m.LicenseType, "", "must be platform or byol")
		v.check(m.LicenseType == "" || m.windows(), "license_type", m.LicenseType, "", "is for Windows only")
	}
	id := m.EnterpriseProjectID
	v.check(id == "" || id == "0" || uuidPattern.MatchString(id), "enterprise_project_id", id, "", "must be empty, 0 or a UUID")
}

func (m Image) checkTags(v *validation) {
	v.check(len(m.Tags) == 0 || len(m.ImageTags) == 0, "image_tags", "", "IMG.0115", "cannot go with tags: use one of the two")
	tagRune := func(r rune) bool { return r == '_' || r == '-' || asciiAlnum(r) }
	for _, t := range m.Tags {
		key, value, ok := strings.Cut(t, ".")
		v.check(ok && key != "" && len(key) <= 36 && len(value) <= 43, "tags", t, "IMG.0115", "must be key.value with a key of 1 to 36 and a value of up to 43 characters")
		v.check(only(key, tagRune) && only(value, tagRune), "tags", t, "IMG.0116", "takes letters, digits, '_' and '-' only")
	}
	for _, t := range m.ImageTags {
		key, value := utf8.RuneCountInString(t.Key), utf8.RuneCountInString(t.Value)
		v.check(key >= 1 && key <= 36 && value <= 43, "image_tags", fmt.Sprintf("%s=%s", t.Key, t.Value), "IMG.0115", "must have a key of 1 to 36 and a value of up to 43 characters")
	}
}
