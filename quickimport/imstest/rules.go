package imstest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

type tag struct {
	Key   *string `json:"key"`
	Value *string `json:"value"`
}

// createRequest is the body of a creation; pointers distinguish missing from empty.
type createRequest struct {
	Name                *string  `json:"name"`
	Description         string   `json:"description"`
	OSVersion           *string  `json:"os_version"`
	OSType              *string  `json:"os_type"`
	ImageURL            *string  `json:"image_url"`
	MinDisk             *int     `json:"min_disk"`
	Tags                []string `json:"tags"`
	ImageTags           []tag    `json:"image_tags"`
	Type                string   `json:"type"`
	EnterpriseProjectID string   `json:"enterprise_project_id"`
	Architecture        string   `json:"architecture"`
	Firmware            string   `json:"hw_firmware_type"`
	License             string   `json:"license_type"`
}

const maxTags = 10

var (
	nameRule = regexp.MustCompile(`^[A-Za-z0-9._\x{4e00}-\x{9fff}\x{3400}-\x{4dbf} -]+$`)
	tagKey   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,36}$`)
	tagValue = regexp.MustCompile(`^[A-Za-z0-9_-]{0,43}$`)
	uuidRule = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// parseCreate checks every rule that depends on the body alone.
func parseCreate(body []byte) (*createRequest, *apiError) {
	if len(strings.TrimSpace(string(body))) == 0 {
		return nil, bad("IMG.0007", "The request body is empty.")
	}
	q := &createRequest{}
	if len(body) > maxBody || !utf8.Valid(body) || json.Unmarshal(body, q) != nil {
		return nil, bad("IMG.0001", "The request message format is invalid.")
	}
	for _, rule := range []func() *apiError{q.checkName, q.checkDescription, q.checkType, q.checkOS, q.checkURL, q.checkDisk, q.checkTags, q.checkHardware} {
		if e := rule(); e != nil {
			return nil, e
		}
	}
	return q, nil
}

func (q *createRequest) data() bool { return q.Type == "DataImage" }

func (q *createRequest) checkName() *apiError {
	switch {
	case q.Name == nil || *q.Name == "":
		return bad("IMG.0062", "The image name is incorrect.")
	case utf8.RuneCountInString(*q.Name) > 128:
		return bad("IMG.0002", "The image name contains more than 128 characters.")
	case !nameRule.MatchString(*q.Name) || strings.TrimSpace(*q.Name) != *q.Name:
		return bad("IMG.0003", "The image name format is invalid.")
	}
	return nil
}

func (q *createRequest) checkDescription() *apiError {
	switch {
	case utf8.RuneCountInString(q.Description) > 1024:
		return bad("IMG.0004", "The description contains more than 1024 characters.")
	case strings.ContainsAny(q.Description, "\r\n<>"):
		return bad("IMG.0054", "The image description is invalid.")
	}
	return nil
}

func (q *createRequest) checkType() *apiError {
	switch q.Type {
	case "", "ECS", "BMS", "DataImage":
		return nil
	}
	return bad("IMG.0024", "The imagetype is invalid.")
}

func (q *createRequest) checkOS() *apiError {
	if q.data() {
		switch {
		case q.OSVersion != nil:
			return bad("IMG.0056", "The OS version is not allowed for a data disk image.")
		case q.OSType == nil || *q.OSType != "Linux" && *q.OSType != "Windows":
			return bad("IMG.0122", "The OS type is invalid.")
		}
		return nil
	}
	switch {
	case q.OSType != nil:
		return bad("IMG.0122", "The OS type is not allowed for a system disk image.")
	case q.OSVersion == nil || strings.TrimSpace(*q.OSVersion) == "":
		return bad("IMG.0159", "The os_version parameter is required.")
	case strings.ContainsAny(strings.TrimSpace(*q.OSVersion), "\r\n<>"):
		return bad("IMG.0056", "The OS version is invalid.")
	}
	return nil
}

func (q *createRequest) checkURL() *apiError {
	if q.ImageURL == nil {
		return bad("IMG.0017", "The image file URL is invalid.")
	}
	if strings.Contains(*q.ImageURL, " ") {
		return bad("IMG.0175", "The folder name or file name cannot contain spaces.")
	}
	b, k := q.location()
	if !bucketName.MatchString(b) || k == "" || len(k) > maxKey {
		return bad("IMG.0017", "The image file URL is invalid.")
	}
	return nil
}

func (q *createRequest) location() (bucket, key string) {
	bucket, key, _ = strings.Cut(*q.ImageURL, ":")
	return bucket, key
}

func (q *createRequest) checkDisk() *apiError {
	if q.MinDisk == nil || *q.MinDisk < 1 || *q.MinDisk > 1024 {
		return bad("IMG.0055", "The memory or disk size is invalid.")
	}
	return nil
}

func (q *createRequest) checkTags() *apiError {
	if len(q.Tags) > 0 && len(q.ImageTags) > 0 {
		return bad("IMG.0116", "Either tags or image_tags can be set, not both.")
	}
	if len(q.Tags) > maxTags || len(q.ImageTags) > maxTags {
		return bad("IMG.0115", "An image has at most 10 tags.")
	}
	for _, t := range q.Tags {
		k, v, ok := strings.Cut(t, ".")
		if !ok || !tagKey.MatchString(k) || !tagValue.MatchString(v) {
			return bad("IMG.0115", "The tag is invalid.")
		}
	}
	for _, t := range q.ImageTags {
		// The documentation limits only the length of image_tags.
		if t.Key == nil || t.Value == nil || *t.Key == "" || utf8.RuneCountInString(*t.Key) > 36 || utf8.RuneCountInString(*t.Value) > 43 {
			return bad("IMG.0115", "The tag is invalid.")
		}
	}
	return nil
}

func (q *createRequest) checkHardware() *apiError {
	if id := q.EnterpriseProjectID; id != "" && id != "0" && !uuidRule.MatchString(id) {
		return bad("IMG.0001", "The request message format is invalid: enterprise_project_id.")
	}
	a, f := q.Architecture, q.Firmware
	switch {
	case a != "" && a != "x86" && a != "arm", a != "" && q.data():
		return bad("IMG.0212", "The architecture is invalid.")
	case f != "" && f != "bios" && f != "uefi", f != "" && q.data(), a == "arm" && f == "bios":
		return bad("IMG.0141", "The firmware type is invalid.")
	}
	if q.License != "" {
		windows := q.OSVersion != nil && strings.Contains(strings.ToLower(*q.OSVersion), "windows")
		if !windows || q.License != "platform" && q.License != "byol" {
			return bad("IMG.0001", "The request message format is invalid: license_type.")
		}
	}
	return nil
}

// checkVariants checks the rules that only some clouds apply.
func (q *createRequest) checkVariants(variants map[Variant]bool) *apiError {
	windows := q.OSType != nil && *q.OSType == "Windows"
	if !q.data() {
		version := strings.TrimSpace(*q.OSVersion)
		windows = strings.HasPrefix(version, "Windows")
		known := slices.ContainsFunc(osVersions, func(v osVersion) bool { return v.version == version })
		switch {
		case variants[KnownOSVersions] && !known:
			return bad("IMG.0056", "The OS version is not supported.")
		case variants[NoWindows] && windows:
			return bad("IMG.0056", "Huawei Cloud has stopped providing Windows images. This API will no longer be used to quickly import Windows images.")
		}
	}
	floor := 10
	if windows {
		floor = 20
	}
	if variants[MinDiskFloor] && *q.MinDisk < floor {
		return bad("IMG.0055", "The memory or disk size is invalid.")
	}
	return nil
}
