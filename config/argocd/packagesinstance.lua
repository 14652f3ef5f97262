-- Copyright The packages-operator Authors.
-- SPDX-License-Identifier: Apache-2.0
--
-- How a PackagesInstance is, in Argo CD's words. It needs no library but the basic one.

local health = { status = "Progressing", message = "waiting for the operator to look at it" }
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "being deleted"
  return health
end
local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
-- What the status says may be about an earlier spec.
if tostring(status.observedGeneration) ~= tostring(obj.metadata.generation) then
  return health
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local function is(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end

if is("Stalled") then
  health.status = "Degraded"
  health.message = conditions.Stalled.message
elseif is("Reconciling") then
  health.message = conditions.Reconciling.message
  -- These may end by themselves, and mostly somebody is needed.
  local failures = { ImagePullFailed = true, PodCrashing = true, DatabaseUnavailable = true, StorageUnavailable = true }
  if failures[conditions.Reconciling.reason] then
    health.status = "Degraded"
  end
elseif is("Ready") then
  health.status = "Healthy"
  if obj.spec.suspend then
    health.status = "Suspended"
  end
  health.message = conditions.Ready.message
end
return health
