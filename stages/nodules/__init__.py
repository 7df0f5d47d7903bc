"""Does this radiograph show a nodule, and where?"""
