"""The findings benchmark: what does a model say it sees on CT and MR cases, and would a second judge agree?"""
