{
	email {{ key "secrets/frontend/acme_email" }}
}
{{ range services }}{{ $service := . }}{{ range .Tags }}{{ if . | regexMatch "^frontend " }}
{{ . | replaceAll "frontend " "" }} {
	reverse_proxy{{ range service $service.Name }} {{ .Address }}:{{ .Port }}{{ end }}
}
{{ end }}{{ end }}{{ end }}
